//! See `lictor_sim::fuzz::topology`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lictor_sim::fuzz::topology(data));
