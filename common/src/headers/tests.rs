//! Runs the rows of `docs/headers.md`: what the table says is what the code does.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};

use super::{Address, Downstream, prepare_request, prepare_response, prepare_trailers, stamp};
use crate::condition::Condition;

const TABLE: &str = include_str!("../../../docs/headers.md");

#[test]
fn every_row_of_the_table_is_true() {
    let rows: Vec<_> = TABLE.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 20, "the table is gone");
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, field, arrives, request, response, _why, _] = cells[..] else {
            panic!("not five cells: {row}");
        };
        let field = field.trim_matches('`');
        let sent =
            quoted(arrives).map(|line| line.split_once(": ").expect(row)).collect::<Vec<_>>();
        check(row, field, &sent, request, forwarded_request(&sent));
        check(row, field, &sent, response, Some(forwarded_response(&sent)));
    }
}

#[test]
fn trailers_say_nothing_of_hops_and_ways() {
    let names = [
        "x-sum",
        "server-timing",
        "connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "content-length",
        "host",
        "trailer",
        "forwarded",
        "x-forwarded-for",
        "x_real.ip",
        "x_proxy-condition",
    ];
    let mut trailers: HeaderMap = names
        .iter()
        .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")))
        .collect();
    prepare_trailers(&mut trailers);
    assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-sum", "server-timing"]);
}

fn check(row: &str, field: &str, sent: &[(&str, &str)], rule: &str, got: Option<HeaderMap>) {
    let Some(headers) = got else { return assert_eq!(rule, "refused", "{row}") };
    let values = headers.get_all(field).iter().map(|value| value.to_str().unwrap());
    let got = values.collect::<Vec<_>>().join(", ");
    let arrived: Vec<_> =
        sent.iter().filter(|(n, _)| *n == field).map(|(_, value)| *value).collect();
    match rule {
        "–" => {}
        "removed" => assert!(!headers.contains_key(field), "{row}\ngot: {got}"),
        "kept" => {
            assert!(!got.is_empty(), "{row}");
            assert_eq!(got, arrived.join(", "), "{row}");
        }
        _ => assert_eq!(got, quoted(rule).next().expect(row), "{row}"),
    }
}

/// The parts of a cell that are set as code.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn forwarded_request(sent: &[(&str, &str)]) -> Option<HeaderMap> {
    let mut request = Request::get("/").version(Version::HTTP_11);
    if !sent.iter().any(|(name, _)| *name == "Host") {
        request = request.header("Host", "shop:8050");
    }
    for (name, value) in sent {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let peer = Address::from(IpAddr::from([192, 0, 2, 7]));
    let downstream = Downstream { peer: &peer, tls: false, trust: false };
    let upgrade = prepare_request(&mut parts, &downstream).ok()?;
    stamp(&mut parts.headers, &Condition::from(8050));
    if let Some(upgrade) = upgrade {
        upgrade.restore(&mut parts.headers);
    }
    Some(parts.headers)
}

fn forwarded_response(sent: &[(&str, &str)]) -> HeaderMap {
    let mut headers: HeaderMap = sent
        .iter()
        .map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        })
        .collect();
    if let Some(upgrade) = prepare_response(&mut headers, Version::HTTP_11) {
        upgrade.restore(&mut headers);
    }
    headers
}
