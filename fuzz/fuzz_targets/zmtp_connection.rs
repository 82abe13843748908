//! See `lictor_zmtp::fuzz::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lictor_zmtp::fuzz::connection(data));
