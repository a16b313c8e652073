//! Where a message's body ends (RFC 9112 §6.3), decided so that no two servers can differ.

use http::{Method, StatusCode, Version};

use super::error::Http1Error;
use crate::fields::{Fields, Name};
use crate::message::Response;

/// How the length of a body is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// In chunks, up to an empty one.
    Chunked,
    /// So many bytes.
    Length(u64),
    /// Up to the connection's end; responses only.
    UntilClose,
}

impl Framing {
    pub(super) const NONE: Self = Self::Length(0);

    /// Refuses whatever two servers could read differently; RFC 9112 §6.1 and §6.3 allow that. In
    /// other versions than HTTP/1.1 there is no `Transfer-Encoding`.
    pub(crate) fn of_request(fields: &Fields, version: Version) -> Result<Self, Http1Error> {
        let chunked = is_chunked(fields)?;
        let length = content_length(fields)?;
        match (chunked, length) {
            (true, Some(_)) => {
                Err(Http1Error::Malformed("Content-Length together with Transfer-Encoding"))
            }
            (true, None) if version != Version::HTTP_11 => {
                Err(Http1Error::Malformed("Transfer-Encoding outside HTTP/1.1"))
            }
            (true, None) => Ok(Self::Chunked),
            (false, length) => Ok(Self::Length(length.unwrap_or(0))),
        }
    }

    /// The framing of an answer to `method`. Its second part says whether the connection can be
    /// used again after it: not where the message is one that attacks are made of.
    pub(super) fn of_response<B>(
        method: &Method,
        response: &Response<B>,
    ) -> Result<(Self, bool), Http1Error> {
        let Response { status, version, fields, .. } = response;
        let bodiless = status.is_informational()
            || matches!(*status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || *method == Method::HEAD {
            return Ok((Self::NONE, true));
        }
        let chunked = is_chunked(fields)?;
        match (chunked, content_length(fields)?) {
            (true, _) if *version == Version::HTTP_10 => {
                Err(Http1Error::Malformed("Transfer-Encoding in HTTP/1.0"))
            }
            (true, length) => Ok((Self::Chunked, length.is_none())),
            (false, Some(length)) => Ok((Self::Length(length), true)),
            (false, None) => Ok((Self::UntilClose, false)),
        }
    }
}

/// Only the one coding that every server reads alike.
fn is_chunked(fields: &Fields) -> Result<bool, Http1Error> {
    let mut codings = fields.all(Name::TransferEncoding);
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(Http1Error::Malformed("a Transfer-Encoding other than chunked")),
    }
}

/// Digits only, once: `+5`, `5, 5` and what overflows are read differently by different servers.
pub(crate) fn content_length(fields: &Fields) -> Result<Option<u64>, Http1Error> {
    let mut lengths = fields.all(Name::ContentLength);
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(length), None) => match number(length) {
            Some(length) => Ok(Some(length)),
            None => Err(Http1Error::Malformed("a Content-Length that is no number")),
        },
        _ => Err(Http1Error::Malformed("several Content-Length fields")),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let number = |sum: u64, digit: &u8| {
        sum.checked_mul(10)?.checked_add(u64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?))
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_with_one_reading() {
        let of = |list: &[_]| Framing::of_request(&Fields::of(list), Version::HTTP_11).ok();
        assert_eq!(of(&[]), Some(Framing::NONE));
        assert_eq!(of(&[("content-length", "0")]), Some(Framing::Length(0)));
        assert_eq!(
            of(&[("content-length", "18446744073709551615")]),
            Some(Framing::Length(u64::MAX))
        );
        assert_eq!(of(&[("transfer-encoding", "Chunked")]), Some(Framing::Chunked));
    }

    #[test]
    fn requests_with_several_readings_are_refused() {
        let refused: &[&[(&str, &str)]] = &[
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("content-length", "-5")],
            &[("content-length", "")],
            &[("content-length", "0x5")],
            &[("content-length", "18446744073709551616")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "xchunked")],
            &[("transfer-encoding", "")],
        ];
        for list in refused {
            assert!(Framing::of_request(&Fields::of(list), Version::HTTP_11).is_err(), "{list:?}");
        }
        let chunked = Fields::of(&[("transfer-encoding", "chunked")]);
        assert!(Framing::of_request(&chunked, Version::HTTP_10).is_err());
    }

    #[test]
    fn responses() {
        let of = |method: Method, status: u16, list: &[_]| {
            let mut response = Response::new(StatusCode::from_u16(status).unwrap(), ());
            response.fields = Fields::of(list);
            Framing::of_response(&method, &response).unwrap()
        };
        let five = [("content-length", "5")];
        assert_eq!(of(Method::GET, 200, &five), (Framing::Length(5), true));
        assert_eq!(of(Method::HEAD, 200, &five), (Framing::NONE, true));
        assert_eq!(of(Method::GET, 204, &[]), (Framing::NONE, true));
        assert_eq!(of(Method::GET, 304, &five), (Framing::NONE, true));
        assert_eq!(of(Method::GET, 200, &[]), (Framing::UntilClose, false));
        let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert_eq!(of(Method::GET, 200, &both), (Framing::Chunked, false));
        let mut old = Response::new(StatusCode::OK, ());
        old.version = Version::HTTP_10;
        old.fields = Fields::of(&[("transfer-encoding", "chunked")]);
        assert!(Framing::of_response(&Method::GET, &old).is_err());
    }
}
