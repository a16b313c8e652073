//! Heads of HTTP/1.1: from bytes, and back.

use bytes::BytesMut;
use criterion::Criterion;
use tunnel_common::http1::benching;

use super::sample;

pub(super) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http1_head");
    group.bench_function("read a request", |bencher| {
        bencher.iter(|| benching::take_request(&mut BytesMut::from(benching::REQUEST)).unwrap());
    });
    group.bench_function("read a response", |bencher| {
        bencher.iter(|| benching::take_response(&mut BytesMut::from(benching::RESPONSE)).unwrap());
    });
    // A connection's buffer is used again.
    let mut out = BytesMut::new();
    let request = sample::request();
    group.bench_function("write a request", |bencher| {
        bencher.iter(|| {
            out.clear();
            benching::put_request(&mut out, &request);
        });
    });
    let response = sample::response();
    group.bench_function("write a response", |bencher| {
        bencher.iter(|| {
            out.clear();
            benching::put_response(&mut out, &response);
        });
    });
    group.finish();
}
