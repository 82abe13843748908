//! See `lictor_wire::fuzz::json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lictor_wire::fuzz::json(data));
