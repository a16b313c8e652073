//! Any payload may come as a head; what is taken reads back as it was.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_common::tunnel::fuzzing::heads(data));
