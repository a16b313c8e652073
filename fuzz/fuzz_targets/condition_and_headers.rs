//! A request from outside may have any target and fields; none of them moves the stamp.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use http::{Method, Uri, Version};
use libfuzzer_sys::fuzz_target;
use tunnel_common::condition::Condition;
use tunnel_common::fields::Fields;
use tunnel_common::headers::{self, Address, Downstream};
use tunnel_common::message::RequestHead;

fuzz_target!(|data: &[u8]| {
    let Some(mut head) = head(data) else { return };

    let mut untouched = head.fields.clone();
    let _ = headers::take_condition(&mut untouched);
    assert!(headers::take_condition(&mut untouched).is_err(), "it is taken off");
    headers::strip_hop_by_hop(&mut untouched);
    let stripped = untouched.clone();
    assert!(headers::strip_hop_by_hop(&mut untouched).is_none());
    assert_eq!(untouched, stripped, "nothing is left to strip");

    let trust = data.first().is_some_and(|byte| byte & 1 == 1);
    let peer = Address::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let downstream = Downstream { peer: &peer, tls: false, trust };
    if headers::prepare_request(&mut head, &downstream).is_ok() {
        let condition = Condition::from(8050);
        headers::stamp(&mut head.fields, &condition);
        headers::strip_hop_by_hop(&mut head.fields);
        assert_eq!(headers::take_condition(&mut head.fields), Ok(condition));
    }
});

/// Lines: method, target, then a field each.
fn head(data: &[u8]) -> Option<RequestHead> {
    let mut lines = data.get(1..)?.split(|byte| *byte == b'\n');
    let mut head = RequestHead {
        method: Method::from_bytes(lines.next()?).ok()?,
        uri: Uri::try_from(lines.next()?).ok()?,
        version: match data.first()? & 6 {
            0 => Version::HTTP_10,
            2 => Version::HTTP_2,
            _ => Version::HTTP_11,
        },
        fields: Fields::new(),
    };
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        head.fields.push(&line[..colon], &line[colon + 1..]).ok()?;
    }
    Some(head)
}
