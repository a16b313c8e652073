//! What `config.json` may say and what is said about mistakes, in examples that the parser and the
//! published schema share.

mod document;
mod properties;
mod schema;

use std::path::Path;

use super::{Config, Problems};

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, Path::new("/etc/isthmus/config.json"))
}

/// A document of one mapping with these fields.
fn mapping(fields: &str) -> String {
    format!(r#"{{"data":[{{{fields}}}]}}"#)
}

/// Fields of one mapping that are accepted beside a good port and target.
const ACCEPTED: &[&str] = &[
    r#""name":"a""#,
    r#""name":"orders-2""#,
    r#""name":"o23456789-123456789-123456789-123456789-123456789-123456789-123""#,
    r#""name":null"#,
    r#""nodePort":30050"#,
    r#""nodePort":"80""#,
    r#""host":"caller""#,
    r#""host":"target""#,
    r#""host":"demo.example""#,
    r#""host":"demo.example:8443""#,
    r#""host":"[::1]:8443""#,
    r#""timeout":"500ms""#,
    r#""timeout":"30s""#,
    r#""timeout":"1h30m""#,
    r#""timeout":"24h""#,
    r#""timeout":"30""#,
    r#""timeout":30"#,
    r#""timeout":0.25"#,
    r#""connectTimeout":"5m""#,
    r#""remoteIp":null"#,
    r#""tls":{}"#,
    r#""tls":{"ca":"ca.pem","serverName":"demo.example"}"#,
    r#""tls":{"serverName":"10.0.0.1"}"#,
];

/// Targets that are accepted.
const TARGETS: &[&str] = &[
    "http://demo-service-1.cnp-tunnel.svc.cluster.local:8080",
    "http://demo",
    "http://demo./",
    "http://10.0.0.1:1/",
    "https://[2001:db8::1]:65535/base/path/",
    "h2c://under_score:50051",
    "HTTPS://Demo/a%20b",
];

/// Whether the schema sees a mistake, too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Schema {
    Refuses,
    /// The rule is none that JSON Schema can say, or say briefly.
    Accepts,
}

/// Fields of one mapping that are refused beside a good port and target, and why.
const REFUSED: &[(&str, &str, Schema)] = &[
    (r#""nmae":"a""#, r#"data[0]: unknown field "nmae": did you mean "name"?"#, Schema::Refuses),
    (
        r#""x":1"#,
        "data[0]: unknown field \"x\": remove it; the fields here are port, remoteIP, remoteIp, \
         name, nodePort, cluster, health, host, timeout, connectTimeout, downstream, tls",
        Schema::Refuses,
    ),
    (
        r#""name":"a","name":"a""#,
        r#"data[0]: "name" is written twice: keep one of them"#,
        Schema::Accepts,
    ),
    (
        r#""remoteIp":"http://demo""#,
        r#"data[0]: "remoteIP" and "remoteIp" are one field: keep one of them"#,
        Schema::Refuses,
    ),
    (r#""nodePort":0"#, "data[0].nodePort: 0 is not a port", Schema::Refuses),
    (r#""name":"""#, r#"data[0].name: "" is not a name: "#, Schema::Refuses),
    (r#""name":"Orders""#, r#"data[0].name: "Orders" is not a name: "#, Schema::Refuses),
    (r#""name":"8050""#, r#"data[0].name: "8050" is not a name: "#, Schema::Refuses),
    (r#""name":"a-""#, r#"data[0].name: "a-" is not a name: "#, Schema::Refuses),
    (
        r#""name":"o23456789-123456789-123456789-123456789-123456789-123456789-1234""#,
        r#"data[0].name: "o23456789-"#,
        Schema::Refuses,
    ),
    (r#""name":7"#, "data[0].name: 7 is not a name: ", Schema::Refuses),
    (r#""name":"\ud800""#, "data[0].name: a text with a broken escape is not", Schema::Accepts),
    (r#""host":"""#, r#"data[0].host: "" has no host: "#, Schema::Refuses),
    (r#""host":"a b""#, r#"data[0].host: "a b" has no valid host: "#, Schema::Accepts),
    (r#""host":"a\r\nb""#, r#"data[0].host: "a\r\nb" has no valid host: "#, Schema::Accepts),
    (r#""host":"a:0""#, r#"data[0].host: "a:0" has no valid port: "#, Schema::Accepts),
    (r#""host":["a"]"#, "data[0].host: a list is not a host: ", Schema::Refuses),
    (r#""timeout":"0s""#, r#"data[0].timeout: "0s" is not a duration: "#, Schema::Accepts),
    (r#""timeout":"25h""#, r#"data[0].timeout: "25h" is not a duration: "#, Schema::Accepts),
    (r#""timeout":"5M""#, r#"data[0].timeout: "5M" is not a duration: "#, Schema::Refuses),
    (r#""timeout":"-5s""#, r#"data[0].timeout: "-5s" is not a duration: "#, Schema::Refuses),
    (r#""timeout":"+5""#, r#"data[0].timeout: "+5" is not a duration: "#, Schema::Refuses),
    (r#""timeout":"""#, r#"data[0].timeout: "" is not a duration: "#, Schema::Refuses),
    (r#""timeout":0"#, "data[0].timeout: 0 is not a duration: ", Schema::Refuses),
    (r#""timeout":-1"#, "data[0].timeout: -1 is not a duration: ", Schema::Refuses),
    (r#""timeout":86401"#, "data[0].timeout: 86401 is not a duration: ", Schema::Refuses),
    (r#""timeout":1e300"#, "data[0].timeout: 1e300 is not a duration: ", Schema::Refuses),
    (r#""timeout":true"#, "data[0].timeout: true is not a duration: ", Schema::Refuses),
    (r#""tls":"ca.pem""#, r#"data[0].tls: "ca.pem" is not an object: "#, Schema::Refuses),
    (r#""tls":{"ca":""}"#, r#"data[0].tls.ca: "" is not a path: "#, Schema::Refuses),
    (
        r#""tls":{"server":"a"}"#,
        r#"data[0].tls: unknown field "server": did you mean "serverName"?"#,
        Schema::Refuses,
    ),
    (
        r#""tls":{"serverName":"a b"}"#,
        r#"data[0].tls.serverName: "a b" is not a server name: "#,
        Schema::Accepts,
    ),
];

/// Targets that are refused, and why.
const REFUSED_TARGETS: &[(&str, &str, Schema)] = &[
    ("demo:8080", r#""demo:8080" has no scheme: "#, Schema::Refuses),
    (
        "tcp://db:5432",
        r#""tcp://db:5432" is a tcp target, which is not supported"#,
        Schema::Refuses,
    ),
    ("connect://db", "is a connect target, which is not supported yet", Schema::Refuses),
    ("udp://dns:53", "is a udp target, which is not supported yet", Schema::Refuses),
    ("ftp://demo", "scheme that does not exist here: use http, https or h2c", Schema::Refuses),
    ("http://", r#""http://" has no host: "#, Schema::Refuses),
    ("http:///albums", "has no host: ", Schema::Refuses),
    ("http://:80", "has no host: ", Schema::Accepts),
    ("http://demo:", "has no valid port: ", Schema::Accepts),
    ("http://demo:0", "has no valid port: ", Schema::Accepts),
    ("http://demo:65536", "has no valid port: ", Schema::Accepts),
    ("http://::1", "has no valid host: ", Schema::Accepts),
    ("http://[::1", "has no valid host: ", Schema::Accepts),
    ("http://[::g]", "has no valid host: ", Schema::Accepts),
    ("http://256.1.1.1", "has no valid host: ", Schema::Accepts),
    ("http://m\u{fc}nchen.example", "has no valid host: ", Schema::Accepts),
    ("http://demo/a b", "has a character in its path", Schema::Refuses),
    ("http://demo/#part", r#""http://***" has a fragment"#, Schema::Refuses),
    ("http://demo/?token=s3cret", r#""http://***" has a query"#, Schema::Refuses),
    ("http://me:s3cret@demo", r#""http://***" carries a user name or password"#, Schema::Refuses),
    ("http://me:s3/cret@demo", r#""http://***" "#, Schema::Accepts),
    ("me:s3cret@http://demo", r#""***" has a scheme"#, Schema::Refuses),
    ("ftp://me:s3cret@demo", r#""ftp://***" has a scheme"#, Schema::Refuses),
];
