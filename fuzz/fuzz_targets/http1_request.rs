//! A caller sends anything; what is accepted, hyper reads alike.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_common::http1::fuzzing::request(data));
