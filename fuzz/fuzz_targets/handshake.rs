#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dchan_core::fuzzing::handshake(data));
