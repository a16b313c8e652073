use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::*;
use crate::condition::Condition;
use crate::config::{HostPolicy, Scheme};

/// What a generated mapping must become.
#[derive(Clone, Debug)]
struct Expected {
    scheme: (&'static str, Scheme),
    authority: String,
    path: String,
    host: Option<String>,
    timeout: Option<u64>,
    connect_timeout: Option<u64>,
    as_text: bool,
}

impl Expected {
    fn json(&self, port: u16) -> Value {
        let spelling = if self.as_text { "remoteIP" } else { "remoteIp" };
        json!({
            "port": if self.as_text { json!(port.to_string()) } else { json!(port) },
            spelling: format!("{}://{}{}", self.scheme.0, self.authority, self.path),
            "name": format!("n{port}"),
            "host": self.host,
            "timeout": self.timeout.map(|millis| format!("{millis}ms")),
            "connectTimeout": self.connect_timeout,
        })
    }
}

fn expected() -> impl Strategy<Value = Expected> {
    let schemes = [("http", Scheme::Http), ("https", Scheme::Https), ("h2c", Scheme::H2c)].to_vec();
    let authority = "[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{1,9}){0,3}(:[1-9][0-9]{0,3})?";
    (
        select(schemes),
        authority,
        "(/[!-~&&[^/?#@\"\\\\]]{1,9}){0,3}",
        proptest::option::of(authority),
        proptest::option::of(1..=86_400_000_u64),
        proptest::option::of(1..=86_400_u64),
        any::<bool>(),
    )
        .prop_map(|(scheme, authority, path, host, timeout, connect_timeout, as_text)| {
            Expected { scheme, authority, path, host, timeout, connect_timeout, as_text }
        })
}

fn documents() -> impl Strategy<Value = BTreeMap<u16, Expected>> {
    proptest::collection::btree_map(1_u16.., expected(), 0..8)
}

fn json(mappings: &BTreeMap<u16, Expected>) -> String {
    let data: Vec<_> = mappings.iter().map(|(port, expected)| expected.json(*port)).collect();
    format!("{:#}", json!({ "data": data }))
}

fn host_policy(host: Option<&str>) -> HostPolicy {
    match host {
        None | Some("caller") => HostPolicy::Caller,
        Some("target") => HostPolicy::Target,
        Some(host) => HostPolicy::Fixed(host.parse().expect("a host")),
    }
}

proptest! {
    #[test]
    fn a_valid_document_becomes_its_routes(mappings in documents()) {
        let config = parse(&json(&mappings)).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(config.routes().len(), mappings.len());
        for (port, expected) in &mappings {
            let route = config.route(&Condition::from(*port)).expect("a route for each port");
            prop_assert_eq!(route.port, *port);
            prop_assert_eq!(&route.name, &format!("n{port}"));
            prop_assert_eq!(route.target.scheme, expected.scheme.1);
            prop_assert_eq!(route.target.authority.as_str(), &expected.authority);
            prop_assert_eq!(&route.target.base_path, &expected.path);
            prop_assert_eq!(&route.host, &host_policy(expected.host.as_deref()));
            let timeout = expected.timeout.map_or(Duration::from_secs(300), Duration::from_millis);
            prop_assert_eq!(route.timeout, timeout);
            let seconds = expected.connect_timeout.unwrap_or(5);
            prop_assert_eq!(route.connect_timeout, Duration::from_secs(seconds));
        }
    }

    #[test]
    fn any_text_is_a_config_or_has_problems(text in "(?s).{0,200}") {
        check(&text)?;
    }

    #[test]
    fn almost_json_is_a_config_or_has_problems(
        text in r#"([\[\]{}:,"]|"data"|"port"|"remoteIP"|"tls"|"http://a"|null|80|[ \n]){0,60}"#,
    ) {
        check(&text)?;
    }

    #[test]
    fn a_damaged_document_is_a_config_or_has_problems(
        mappings in documents(),
        places in proptest::collection::vec((any::<Index>(), "[\\x00-~]{0,2}"), 1..4),
    ) {
        let mut text: Vec<char> = json(&mappings).chars().collect();
        for (place, instead) in places {
            let at = place.index(text.len());
            text.splice(at..=at, instead.chars());
            text.push(' ');
        }
        check(&text.into_iter().collect::<String>())?;
    }
}

/// Parsing does not panic, and a refusal says why, in lines that exist and of printable text.
fn check(text: &str) -> Result<(), TestCaseError> {
    let Err(problems) = parse(text) else { return Ok(()) };
    prop_assert!(problems.count() > 0);
    for problem in problems.iter() {
        prop_assert!(problem.line <= 1 + text.matches('\n').count(), "{}", problem);
        prop_assert!(!problem.to_string().contains(char::is_control), "{:?}", problem);
    }
    Ok(())
}
