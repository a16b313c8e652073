//! A client of the SSH transport may begin with anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_common::tunnel::fuzzing::opening(data));
