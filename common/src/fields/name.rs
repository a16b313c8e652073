//! The names of fields that the bridge itself reads, writes or takes away.

/// A field that the bridge knows. All others it only passes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "they are called what `as_str` says")]
pub enum Name {
    Accept,
    Connection,
    ContentLength,
    ContentType,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    ProxyAuthenticate,
    ProxyAuthenticationInfo,
    ProxyAuthorization,
    ProxyConnection,
    ProxyStatus,
    RetryAfter,
    SecWebsocketAccept,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    Via,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XProxyCondition,
    XRequestId,
}

impl Name {
    /// The name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Connection => "connection",
            Self::ContentLength => "content-length",
            Self::ContentType => "content-type",
            Self::Expect => "expect",
            Self::Forwarded => "forwarded",
            Self::Host => "host",
            Self::Http2Settings => "http2-settings",
            Self::KeepAlive => "keep-alive",
            Self::ProxyAuthenticate => "proxy-authenticate",
            Self::ProxyAuthenticationInfo => "proxy-authentication-info",
            Self::ProxyAuthorization => "proxy-authorization",
            Self::ProxyConnection => "proxy-connection",
            Self::ProxyStatus => "proxy-status",
            Self::RetryAfter => "retry-after",
            Self::SecWebsocketAccept => "sec-websocket-accept",
            Self::Te => "te",
            Self::Trailer => "trailer",
            Self::TransferEncoding => "transfer-encoding",
            Self::Upgrade => "upgrade",
            Self::Via => "via",
            Self::XForwardedFor => "x-forwarded-for",
            Self::XForwardedHost => "x-forwarded-host",
            Self::XForwardedProto => "x-forwarded-proto",
            Self::XProxyCondition => "x-proxy-condition",
            Self::XRequestId => "x-request-id",
        }
    }

    /// The name that is spelled so, in lower case. The length leaves few to compare with.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let alike: &[Self] = match text.len() {
            2 => &[Self::Te],
            3 => &[Self::Via],
            4 => &[Self::Host],
            6 => &[Self::Accept, Self::Expect],
            7 => &[Self::Trailer, Self::Upgrade],
            9 => &[Self::Forwarded],
            10 => &[Self::Connection, Self::KeepAlive],
            11 => &[Self::RetryAfter],
            12 => &[Self::ContentType, Self::XRequestId, Self::ProxyStatus],
            14 => &[Self::ContentLength, Self::Http2Settings],
            15 => &[Self::XForwardedFor],
            16 => &[Self::XForwardedHost, Self::ProxyConnection],
            17 => &[Self::XForwardedProto, Self::XProxyCondition, Self::TransferEncoding],
            18 => &[Self::ProxyAuthenticate],
            19 => &[Self::ProxyAuthorization],
            20 => &[Self::SecWebsocketAccept],
            25 => &[Self::ProxyAuthenticationInfo],
            _ => &[],
        };
        alike.iter().copied().find(|name| name.as_str().as_bytes() == text)
    }
}

/// A set of names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Names(u32);

impl Names {
    /// These names.
    pub const fn of(names: &[Name]) -> Self {
        let mut set = Self(0);
        let mut rest = names;
        while let [name, more @ ..] = rest {
            set.0 |= Self::bit(*name);
            rest = more;
        }
        set
    }

    /// Whether a name is among them.
    pub const fn contains(self, name: Name) -> bool {
        self.0 & Self::bit(name) != 0
    }

    pub(super) const fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub(super) const fn add(&mut self, name: Name) {
        self.0 |= Self::bit(name);
    }

    pub(super) const fn remove(&mut self, name: Name) {
        self.0 &= !Self::bit(name);
    }

    const fn bit(name: Name) -> u32 {
        1 << name as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All names; that none is left out, the last one's number shows.
    const ALL: [Name; Name::XRequestId as usize + 1] = [
        Name::Accept,
        Name::Connection,
        Name::ContentLength,
        Name::ContentType,
        Name::Expect,
        Name::Forwarded,
        Name::Host,
        Name::Http2Settings,
        Name::KeepAlive,
        Name::ProxyAuthenticate,
        Name::ProxyAuthenticationInfo,
        Name::ProxyAuthorization,
        Name::ProxyConnection,
        Name::ProxyStatus,
        Name::RetryAfter,
        Name::SecWebsocketAccept,
        Name::Te,
        Name::Trailer,
        Name::TransferEncoding,
        Name::Upgrade,
        Name::Via,
        Name::XForwardedFor,
        Name::XForwardedHost,
        Name::XForwardedProto,
        Name::XProxyCondition,
        Name::XRequestId,
    ];

    #[test]
    fn each_is_found_by_its_text() {
        for (number, name) in ALL.into_iter().enumerate() {
            assert_eq!(name as usize, number);
            assert_eq!(Name::of(name.as_str().as_bytes()), Some(name));
            assert_eq!(Name::of(name.as_str().replacen(['e', 'i', 'o'], "_", 1).as_bytes()), None);
        }
        assert_eq!(Name::of(b""), None);
        assert_eq!(Name::of(b"cookie"), None);
    }

    #[test]
    fn a_set_holds_what_was_added() {
        let mut set = Names::of(&[Name::Accept, Name::XRequestId]);
        assert!(set.contains(Name::Accept) && set.contains(Name::XRequestId));
        assert!(!set.contains(Name::Via));
        assert!(!set.has_any(Names::of(&[Name::Via, Name::Te])));
        set.add(Name::Via);
        assert!(set.has_any(Names::of(&[Name::Via, Name::Te])));
        set.remove(Name::Via);
        assert_eq!(set, Names::of(&[Name::XRequestId, Name::Accept]));
    }
}
