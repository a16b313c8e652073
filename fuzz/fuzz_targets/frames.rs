//! A tunnel's peer and application may do anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_common::tunnel::fuzzing::frames(data));
