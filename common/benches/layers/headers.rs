//! The header rules, on both sides of the tunnel.

use std::net::{IpAddr, Ipv4Addr};

use criterion::{BatchSize, Criterion};
use tunnel_common::condition::Condition;
use tunnel_common::headers::{self, Address, Downstream, RequestIds};
use tunnel_common::message::RequestHead;

use super::sample;

pub(super) fn bench(criterion: &mut Criterion) {
    let rules = Rules::new();
    let mut group = criterion.benchmark_group("headers");
    let fresh = sample::request();
    group.bench_function("prepare and stamp a request", |bencher| {
        bencher.iter_batched_ref(|| fresh.clone(), |head| rules.send(head), BatchSize::SmallInput);
    });
    let mut stamped = fresh;
    rules.send(&mut stamped);
    group.bench_function("strip a request and take its stamp", |bencher| {
        bencher.iter_batched_ref(|| stamped.clone(), Rules::receive, BatchSize::SmallInput);
    });
    let response = sample::response();
    group.bench_function("prepare a response", |bencher| {
        bencher.iter_batched_ref(
            || response.clone(),
            |response| headers::prepare_response(&mut response.fields, response.version),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

struct Rules {
    peer: Address,
    request_ids: RequestIds,
    condition: Condition,
}

impl Rules {
    fn new() -> Self {
        Self {
            peer: Address::from(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            request_ids: RequestIds::new(),
            condition: Condition::from(8050),
        }
    }

    /// What `tunnel-send` does with a request.
    fn send(&self, head: &mut RequestHead) {
        let downstream = Downstream { peer: &self.peer, tls: false, trust: false };
        headers::prepare_request(head, &downstream).unwrap();
        self.request_ids.set(&mut head.fields);
        headers::stamp(&mut head.fields, &self.condition);
    }

    /// What `tunnel-receive` does with it.
    fn receive(head: &mut RequestHead) -> Condition {
        headers::strip_hop_by_hop(&mut head.fields);
        headers::take_condition(&mut head.fields).unwrap()
    }
}
