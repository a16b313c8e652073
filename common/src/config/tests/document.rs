use std::time::Duration;

use rustls::pki_types::ServerName;

use super::*;
use crate::condition::Condition;
use crate::config::{HostPolicy, Route, Scheme, TargetTls};

/// The route of the only mapping.
fn route(fields: &str) -> Route {
    let config = parse(&mapping(fields)).unwrap_or_else(|problems| panic!("{fields}: {problems}"));
    config.route(&Condition::from(8050)).map(|route| Route::clone(route)).expect("port 8050")
}

fn refusal(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn both_spellings_and_both_kinds_of_port_are_one_format() {
    let expected = route(r#""port":"8050","remoteIP":"http://demo:8080""#);
    for fields in [
        r#""port":8050,"remoteIP":"http://demo:8080""#,
        r#""port":"8050","remoteIp":"http://demo:8080""#,
        r#""remoteIp":"http://demo:8080","remoteIP":null,"port":8050"#,
    ] {
        assert_eq!(route(fields), expected, "{fields}");
    }
}

#[test]
fn an_entry_of_the_article_has_the_documented_defaults() {
    let route = route(r#""port":"8050","remoteIP":"http://demo:8080""#);
    assert_eq!(route.condition, Condition::from(8050));
    assert_eq!(route.port, 8050);
    assert_eq!(route.name, "8050");
    assert_eq!(route.host, HostPolicy::Caller);
    assert_eq!(route.timeout, Duration::from_secs(300));
    assert_eq!(route.connect_timeout, Duration::from_secs(5));
    assert_eq!(route.target.scheme, Scheme::Http);
    assert_eq!(route.target.authority, "demo:8080");
    assert_eq!(route.target.base_path, "");
    assert_eq!(route.target.tls, TargetTls::default());
}

#[test]
fn every_field_reaches_the_route() {
    let route = route(
        r#""port":8050, "remoteIP":"https://[2001:db8::1]:8443/base/", "name":"orders",
           "host":"demo.example:1", "timeout":"1h30m", "connectTimeout":0.25,
           "tls":{"ca":"pki/ca.pem", "serverName":"orders.internal"},
           "downstream":{"tls":"orders-tls", "trustForwarded":true}"#,
    );
    assert_eq!(route.downstream.tls.as_deref(), Some(Path::new("/etc/isthmus/orders-tls")));
    assert!(route.downstream.trust_forwarded);
    assert_eq!(route.name, "orders");
    assert_eq!(route.host, HostPolicy::Fixed("demo.example:1".parse().unwrap()));
    assert_eq!(route.timeout, Duration::from_secs(5400));
    assert_eq!(route.connect_timeout, Duration::from_millis(250));
    assert_eq!(route.target.scheme, Scheme::Https);
    assert_eq!((route.target.host(), route.target.port()), ("2001:db8::1", 8443));
    assert_eq!(route.target.base_path, "/base");
    assert_eq!(route.target.tls.ca.as_deref(), Some(Path::new("/etc/isthmus/pki/ca.pem")));
    assert_eq!(route.target.tls.server_name, ServerName::try_from("orders.internal").ok());
}

#[test]
fn an_absolute_ca_path_stays() {
    let tls = r#""tls":{"ca":"/pki/ca.pem"}"#;
    let route = route(&format!(r#""port":8050,"remoteIP":"https://demo",{tls}"#));
    assert_eq!(route.target.tls.ca.as_deref(), Some(Path::new("/pki/ca.pem")));
}

#[test]
fn what_is_accepted() {
    for fields in ACCEPTED {
        route(&format!(r#""port":8050,"remoteIP":"https://demo",{fields}"#));
    }
    for target in TARGETS {
        route(&format!(r#""port":8050,"remoteIP":"{target}""#));
    }
    for text in [
        r#"{"data":[]}"#,
        r#"{"$schema":"config.schema.json","data":[]}"#,
        "\u{feff}{\"data\":[]}\r\n",
    ] {
        assert_eq!(parse(text).unwrap().routes().len(), 0, "{text}");
    }
}

#[test]
fn what_is_refused_and_why() {
    for (fields, message, _) in REFUSED {
        let text = mapping(&format!(r#""port":8050,"remoteIP":"https://demo",{fields}"#));
        let refusal = refusal(&text);
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
        let expected = format!("/etc/isthmus/config.json:1: {message}");
        assert!(refusal.starts_with(&expected), "{refusal}\n{expected}");
    }
    for (target, message, _) in REFUSED_TARGETS {
        let refusal = refusal(&mapping(&format!(r#""port":8050,"remoteIP":"{target}""#)));
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
        assert!(refusal.contains("json:1: data[0].remoteIP: "), "{refusal}");
        assert!(refusal.contains(message), "{refusal}\n{message}");
        assert!(!refusal.contains("s3"), "{refusal}");
    }
}

#[test]
fn a_port_has_one_spelling() {
    for port in ["0", r#""""#, r#""0""#, r#""+80""#, r#""080""#, r#"" 80""#, "65536", "-1", "8e1"] {
        let refusal = refusal(&mapping(&format!(r#""port":{port},"remoteIP":"http://demo""#)));
        let expected =
            format!("data[0].port: {port} is not a port: write a number from 1 to 65535");
        assert!(refusal.ends_with(&expected), "{refusal}");
    }
}

#[test]
fn all_mistakes_are_reported_with_their_lines() {
    let text = r#"{
  "dta": [],
  "data": [
    { "port": "8050", "remoteIP": "http://demo", "name": "orders" },
    { "port": "80x", "remoteIp": "ftp://demo" },
    7,
    {
      "port": 8050,
      "remoteIP": "http://demo",
      "name": "orders",
      "tls": { "ca": 1 }
    },
    {}
  ]
}"#;
    let expected = r#"
/etc/isthmus/config.json:2: unknown field "dta": did you mean "data"?
/etc/isthmus/config.json:5: data[1].port: "80x" is not a port: write a number from 1 to 65535
/etc/isthmus/config.json:5: data[1].remoteIp: "ftp://demo" has a scheme that does not exist here: use http, https or h2c
/etc/isthmus/config.json:6: data[2]: 7 is not an object: write { … }
/etc/isthmus/config.json:8: data[3].port: 8050 is already data[0].port in line 4: write another one
/etc/isthmus/config.json:10: data[3].name: orders is already data[0].name in line 4: write another one
/etc/isthmus/config.json:11: data[3].tls.ca: 1 is not a path: write one of a file or folder
/etc/isthmus/config.json:11: data[3].tls: only an https target has TLS: write https:// or remove this
/etc/isthmus/config.json:13: data[4]: "port" is missing: name the port that tunnel-send listens on
/etc/isthmus/config.json:13: data[4]: "remoteIP" is missing: write the target's URL"#;
    assert_eq!(refusal(text), expected.trim_start());
}

#[test]
fn a_document_that_is_no_list_of_mappings_says_so() {
    for (text, message) in [
        ("", ":1:1: the text is not JSON: EOF while parsing a value"),
        ("{\n  \"data\": [,]\n}", ":2:12: the text is not JSON: expected value"),
        ("{\"data\":[]} x", ":1:13: the text is not JSON: trailing characters"),
        ("7", ":1: 7 is not an object: write { … }"),
        ("{}", ":1: \"data\" is missing: list the mappings there; it may be empty"),
        ("{\"data\":null}", ":1: \"data\" is missing: list the mappings there; it may be empty"),
        ("{\"data\":{}}", ":1: data: an object is not a list: write [ … ]"),
        ("{\"data\":[],\n\"data\":[]}", ":2: \"data\" is written twice: keep one of them"),
    ] {
        assert_eq!(refusal(text), format!("/etc/isthmus/config.json{message}"), "{text}");
    }
}

#[test]
fn limits_are_problems() {
    let spaces = " ".repeat((4 << 20) - 11);
    assert!(parse(&format!("{{\"data\":[]}}{spaces}")).is_ok());
    assert!(refusal(&format!("{{\"data\":[]}} {spaces}")).contains("over 4194304 bytes"));

    let entry = |port| format!(r#"{{"port":{port},"remoteIP":"http://demo"}}"#);
    let data = |count| (1..=count).map(entry).collect::<Vec<_>>().join(",");
    let config = parse(&format!(r#"{{"data":[{}]}}"#, data(10_000)));
    assert_eq!(config.map(|config| config.routes().len()), Ok(10_000));
    let refusal = refusal(&format!(r#"{{"data":[{}]}}"#, data(10_001)));
    assert!(refusal.ends_with("data: 10001 mappings are over the limit of 10000"), "{refusal}");
}

#[test]
fn a_flood_of_mistakes_is_cut_and_counted() {
    let problems = parse(&format!(r#"{{"data":[{}1]}}"#, "1,".repeat(9_999))).expect_err("numbers");
    assert_eq!((problems.iter().len(), problems.count()), (Problems::MAX, 10_000));
    assert!(problems.to_string().ends_with("\nand 9900 more problems"));

    let same_port = r#"{"port":1,"remoteIP":"http://demo"},"#.repeat(9_999);
    let problems = parse(&format!(r#"{{"data":[{same_port}{{}}]}}"#)).expect_err("duplicates");
    assert_eq!(problems.count(), 10_000);
}

#[test]
fn the_digest_names_the_text() {
    let digest = |text| parse(text).map(|config| config.digest().to_owned());
    // `printf '{"data":[]}' | sha256sum`
    assert_eq!(digest(r#"{"data":[]}"#).as_deref(), Ok("8fe32e407a1038ee"));
    assert_ne!(digest(r#"{"data":[]}"#), digest(r#"{"data": []}"#));
    assert_eq!(Config::default().digest(), "");
}

#[test]
fn conditions_are_in_order() {
    let entry = |port| format!(r#"{{"port":{port},"remoteIP":"http://demo"}}"#);
    let data = [9, 80, 443, 8050].map(entry).join(",");
    let config = parse(&format!(r#"{{"data":[{data}]}}"#)).expect("four ports");
    let conditions: Vec<_> = config.conditions().map(Condition::as_str).collect();
    assert_eq!(conditions, ["443", "80", "8050", "9"]);
}

#[test]
fn a_file_that_cannot_be_loaded_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    let load = || Config::load(&path).map(|config| config.digest().to_owned());
    let error = || load().expect_err("no config").to_string();

    assert_eq!(
        error(),
        format!(
            "{}: there is no such file: create it, with {{ \"data\": [] }} for no mappings, or \
             name another one",
            path.display()
        )
    );
    std::fs::write(&path, b"{\n\"data\": \"\xff\"}").expect("a write");
    assert_eq!(error(), format!("{}:2: the text is not UTF-8: save it as UTF-8", path.display()));
    std::fs::write(&path, vec![b' '; (4 << 20) + 1]).expect("a write");
    assert!(error().contains("over 4194304 bytes"), "{}", error());
    std::fs::write(&path, r#"{"data":[]}"#).expect("a write");
    assert_eq!(load().expect("a config"), parse(r#"{"data":[]}"#).expect("a config").digest());
    assert!(matches!(
        Config::load(folder.path()),
        Err(crate::config::LoadError::Unreadable { .. })
    ));
}
