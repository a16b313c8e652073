//! Runs the rows of `docs/headers.md`: what the table says is what the code does.

use std::net::IpAddr;

use http::{Uri, Version};

use super::{Address, Downstream, prepare_request, prepare_response, prepare_trailers, stamp};
use crate::condition::Condition;
use crate::fields::{Field, Fields, Name};
use crate::message::RequestHead;

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
fn a_length_with_two_readings_is_not_passed_on() {
    for lengths in [&["5", "6"][..], &["5", "5"], &["x"]] {
        let lengths: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
        let forwarded = forwarded_response(&lengths);
        assert!(!forwarded.contains(Name::ContentLength), "{forwarded:?}");
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
    let mut trailers = Fields::of(&names.map(|name| (name, "1")));
    prepare_trailers(&mut trailers);
    let left: Vec<_> = trailers.iter().map(|field| field.name).collect();
    assert_eq!(left, [&b"x-sum"[..], b"server-timing"]);
}

fn check(row: &str, field: &str, sent: &[(&str, &str)], rule: &str, got: Option<Fields>) {
    let Some(fields) = got else { return assert_eq!(rule, "refused", "{row}") };
    let of_name = |got: &Field<'_>| got.name.eq_ignore_ascii_case(field.as_bytes());
    let values = fields.iter().filter(of_name).map(|got| str::from_utf8(got.value).unwrap());
    let values = values.collect::<Vec<_>>();
    let got = values.join(", ");
    let arrived: Vec<_> =
        sent.iter().filter(|(n, _)| *n == field).map(|(_, value)| *value).collect();
    match rule {
        "–" => {}
        "removed" => assert!(values.is_empty(), "{row}\ngot: {got}"),
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

fn forwarded_request(sent: &[(&str, &str)]) -> Option<Fields> {
    let mut head = RequestHead::get(Uri::from_static("/"));
    head.fields = Fields::of(sent);
    if !sent.iter().any(|(name, _)| *name == "Host") {
        head.fields.push(b"Host", b"shop:8050").unwrap();
    }
    let peer = Address::from(IpAddr::from([192, 0, 2, 7]));
    let downstream = Downstream { peer: &peer, tls: false, trust: false };
    let upgrade = prepare_request(&mut head, &downstream).ok()?;
    stamp(&mut head.fields, &Condition::from(8050));
    if let Some(upgrade) = upgrade {
        upgrade.restore(&mut head.fields);
    }
    Some(head.fields)
}

fn forwarded_response(sent: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::of(sent);
    if let Some(upgrade) = prepare_response(&mut fields, Version::HTTP_11) {
        upgrade.restore(&mut fields);
    }
    fields
}
