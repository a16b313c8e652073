//! A request from outside may have any target and fields; none of them moves the stamp.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};
use libfuzzer_sys::fuzz_target;
use tunnel_common::condition::Condition;
use tunnel_common::headers::{self, Address, Downstream};

fuzz_target!(|data: &[u8]| {
    let Some(request) = request(data) else { return };
    let (mut parts, ()) = request.into_parts();

    let mut untouched = parts.headers.clone();
    let _ = headers::take_condition(&mut untouched);
    assert!(headers::take_condition(&mut untouched).is_err(), "it is taken off");
    headers::strip_hop_by_hop(&mut untouched);
    let stripped = untouched.clone();
    assert!(headers::strip_hop_by_hop(&mut untouched).is_none());
    assert_eq!(untouched, stripped, "nothing is left to strip");

    let trust = data.first().is_some_and(|byte| byte & 1 == 1);
    let peer = Address::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let downstream = Downstream { peer: &peer, tls: false, trust };
    if headers::prepare_request(&mut parts, &downstream).is_ok() {
        let condition = Condition::from(8050);
        headers::stamp(&mut parts.headers, &condition);
        headers::strip_hop_by_hop(&mut parts.headers);
        assert_eq!(headers::take_condition(&mut parts.headers), Ok(condition));
    }
});

/// Lines: method, target, then a field each.
fn request(data: &[u8]) -> Option<Request<()>> {
    let mut lines = data.get(1..)?.split(|byte| *byte == b'\n');
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(lines.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(lines.next()?).ok()?;
    *request.version_mut() = match data.first()? & 6 {
        0 => Version::HTTP_10,
        2 => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(&line[colon + 1..]).ok()?;
        request.headers_mut().try_append(name, value).ok()?;
    }
    Some(request)
}
