//! See `lictor_wire::fuzz::msgpack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lictor_wire::fuzz::msgpack(data));
