#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dchan_raft::fuzzing::view_changes(data));
