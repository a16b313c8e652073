//! A target answers anything; what is accepted, hyper reads alike.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((first, bytes)) = data.split_first() {
        tunnel_common::http1::fuzzing::response(bytes, first & 1 == 1);
    }
});
