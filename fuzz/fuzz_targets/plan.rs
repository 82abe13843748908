//! See `lictor_sim::fuzz::plan`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lictor_sim::fuzz::plan(data));
