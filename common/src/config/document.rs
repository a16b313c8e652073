//! The fields of `config.json`: what is read and what the JSON Schema says, from the same types.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::reader::Spanned;
use super::route::{Health, HostPolicy, Target};
use super::value::{Cluster, Name, Port, Value};

/// The mappings of an Isthmus bridge, shared by tunnel-send and tunnel-receive.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Isthmus config.json")]
pub(super) struct Document<'a> {
    /// Where editors find this schema; not used by the bridge.
    #[serde(rename = "$schema")]
    #[schemars(with = "Option<String>")]
    _schema: Option<IgnoredAny>,
    /// The mappings, at most 10 000; the list may be empty.
    #[serde(borrow)]
    #[schemars(with = "Vec<Mapping>", length(max = 10_000))]
    pub(super) data: Option<Spanned<'a, Vec<Spanned<'a, Mapping<'a>>>>>,
}

/// One mapping: a port of tunnel-send that stands for a service beside tunnel-receive.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("oneOf" = [
    { "required": ["remoteIP"], "properties": { "remoteIP": { "type": "string" } } },
    { "required": ["remoteIp"], "properties": { "remoteIp": { "type": "string" } } },
]))]
pub(super) struct Mapping<'a> {
    /// The port that tunnel-send listens on. Every mapping has a port of its own.
    #[serde(borrow)]
    #[schemars(required)]
    pub(super) port: Option<Spanned<'a, Port>>,
    /// The URL of the service as tunnel-receive reaches it: http, https or h2c, a host, optionally
    /// a port and a path that is put before the path of each request.
    #[serde(borrow, rename = "remoteIP")]
    pub(super) remote_ip: Option<Spanned<'a, Target>>,
    /// The other spelling of `remoteIP`; a mapping has one of them.
    #[serde(borrow, rename = "remoteIp")]
    pub(super) remote_ip_too: Option<Spanned<'a, Target>>,
    /// A name for logs and the Kubernetes Service, unique among the mappings; by default
    /// the port's number.
    #[serde(borrow)]
    pub(super) name: Option<Spanned<'a, Name>>,
    /// The port of every Kubernetes node that leads to this mapping, where tunnel-send manages its
    /// Service; by default the cluster chooses. Every mapping has one of its own.
    #[serde(borrow)]
    pub(super) node_port: Option<Spanned<'a, Port>>,
    /// The cluster whose tunnels may carry the requests, by the name that its keys prove; by default
    /// any.
    #[serde(borrow)]
    pub(super) cluster: Option<Spanned<'a, Cluster>>,
    /// How tunnel-receive finds out whether the service is well: `tcp`, or the path of a GET that
    /// must be answered with a status below 400, every 5 seconds; by default it does not probe.
    #[serde(borrow)]
    pub(super) health: Option<Spanned<'a, Health>>,
    /// Which Host the service sees: `caller` leaves the caller's unchanged, `target` takes host and
    /// port of the URL, anything else is sent as it is.
    #[serde(borrow)]
    #[schemars(extend("default" = "caller"))]
    pub(super) host: Option<Spanned<'a, HostPolicy>>,
    /// How long the service may stay silent before its answer begins.
    #[serde(borrow)]
    #[schemars(extend("default" = "5m"))]
    pub(super) timeout: Option<Spanned<'a, Duration>>,
    /// How long connecting to the service may take, TLS included.
    #[serde(borrow)]
    #[schemars(extend("default" = "5s"))]
    pub(super) connect_timeout: Option<Spanned<'a, Duration>>,
    /// What concerns the callers of the port.
    #[serde(borrow)]
    #[schemars(with = "Option<Downstream>")]
    pub(super) downstream: Option<Spanned<'a, Downstream<'a>>>,
    /// How an https service proves itself; refused with other schemes.
    #[serde(borrow)]
    #[schemars(with = "Option<Tls>")]
    pub(super) tls: Option<Spanned<'a, Tls<'a>>>,
}

/// What concerns the callers of a port.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Downstream<'a> {
    /// Folder with `tls.crt` and `tls.key`, such as a mounted TLS Secret: callers then speak TLS to
    /// the port. A relative path starts at the folder of this file.
    #[serde(borrow)]
    pub(super) tls: Option<Spanned<'a, PathBuf>>,
    /// Whether the callers are proxies whose own `X-Forwarded-*` and `Forwarded` are believed.
    #[serde(borrow)]
    #[schemars(extend("default" = false))]
    pub(super) trust_forwarded: Option<Spanned<'a, bool>>,
}

/// How an https service proves itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Tls<'a> {
    /// PEM file of the authorities to trust instead of the system's; a relative path starts at the
    /// folder of this file.
    #[serde(borrow)]
    pub(super) ca: Option<Spanned<'a, PathBuf>>,
    /// The name that the certificate must have; by default the URL's host.
    #[serde(borrow = "'a")]
    pub(super) server_name: Option<Spanned<'a, ServerName<'static>>>,
}

/// The JSON Schema of `config.json` (draft 2020-12), as published in `docs/config.schema.json`.
pub fn schema() -> serde_json::Value {
    let generator = SchemaGenerator::from(SchemaSettings::draft2020_12());
    generator.into_root_schema_for::<Document<'_>>().to_value()
}

impl<T: Value> JsonSchema for Spanned<'_, T> {
    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<T>().into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}
