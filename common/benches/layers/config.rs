//! A large config, from its text to routes.

use std::fmt::Write;
use std::path::Path;

use criterion::Criterion;
use tunnel_common::config::Config;

/// Many for one bridge; the limit is 10 000.
const MAPPINGS: u16 = 2000;

pub(super) fn bench(criterion: &mut Criterion) {
    let text = text();
    criterion.bench_function("config/parse 2000 mappings", |bencher| {
        bencher.iter(|| Config::parse(&text, Path::new("config.json")).unwrap());
    });
}

fn text() -> String {
    let mut text = String::from(r#"{"data":["#);
    for port in 10_000..10_000 + MAPPINGS {
        let separator = if port == 10_000 { "" } else { "," };
        write!(
            text,
            r#"{separator}{{"port":{port},"remoteIP":"http://service-{port}.shop.svc:8080"}}"#
        )
        .unwrap();
    }
    text.push_str("]}");
    text
}
