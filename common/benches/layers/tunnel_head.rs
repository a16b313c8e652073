//! Heads as the tunnel carries them: to the payload of a frame, and back.

use criterion::Criterion;
use tunnel_common::headers;
use tunnel_common::tunnel::{EncodedHead, benching};

use super::sample;

pub(super) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tunnel_head");
    let request = sample::request();
    group.bench_function("encode a request", |bencher| {
        bencher.iter(|| EncodedHead::passed_on(&request).unwrap());
    });
    let encoded = EncodedHead::passed_on(&request).unwrap();
    group.bench_function("decode a request", |bencher| {
        bencher.iter(|| {
            let mut request = benching::decode_request(&encoded).unwrap();
            headers::recycle(request.headers_mut());
        });
    });
    let response = sample::response();
    let encode = || EncodedHead::response(response.status(), response.headers()).unwrap();
    group.bench_function("encode a response", |bencher| bencher.iter(encode));
    let encoded = encode();
    group.bench_function("decode a response", |bencher| {
        bencher.iter(|| {
            let mut response = benching::decode_response(&encoded).unwrap();
            headers::recycle(response.headers_mut());
        });
    });
    group.finish();
}
