//! A peer of the gRPC transport may send anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_common::tunnel::fuzzing::pipe(data));
