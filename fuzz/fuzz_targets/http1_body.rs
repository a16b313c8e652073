//! A body ends where it ends, however it is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((framing, bytes)) = data.split_first() {
        tunnel_common::http1::fuzzing::body(bytes, *framing);
    }
});
