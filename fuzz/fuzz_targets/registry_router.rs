//! See `lictor_sim::fuzz::registry_router`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lictor_sim::fuzz::registry_router(data));
