//! A caller may switch protocols; what follows then is passed on as it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunnel_common::http1::fuzzing::upgrade(data));
