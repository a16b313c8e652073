//! Heads as the tunnel carries them: to the payload of a frame, and back.

use criterion::Criterion;
use tunnel_common::tunnel::{EncodedHead, benching};

use super::sample;

pub(super) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tunnel_head");
    let request = sample::request();
    group.bench_function("encode a request", |bencher| {
        bencher.iter(|| EncodedHead::request(&request).unwrap());
    });
    let encoded = EncodedHead::request(&request).unwrap();
    group.bench_function("decode a request", |bencher| {
        bencher.iter(|| benching::decode_request(&encoded).unwrap());
    });
    let response = sample::response();
    let encode = || EncodedHead::response(&response).unwrap();
    group.bench_function("encode a response", |bencher| bencher.iter(encode));
    let encoded = encode();
    group.bench_function("decode a response", |bencher| {
        bencher.iter(|| benching::decode_response(&encoded).unwrap());
    });
    group.finish();
}
