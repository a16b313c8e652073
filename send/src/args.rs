//! The command line of `tunnel-send`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tunnel_common::cli::BaseArgs;
use tunnel_common::edge::Limits;
use tunnel_common::flag::{at_most, duration};
use tunnel_common::kubernetes::ConfigMapName;
use tunnel_common::tunnel::{HostPort, TunnelUrl};

use crate::services::ServiceName;
use crate::tunnel::entry::EntryUrl;

/// What it can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate a config file without starting.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Make a private authority and the keys of both ends.
    Keys(KeysArgs),
}

/// How to make keys.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// The folder to make; `DIR/send` and `DIR/receive` are what each end gets. With `DIR/send` and
    /// `DIR/ca` in it, it gets the keys of a further --cluster.
    #[arg(long, value_name = "DIR", required_unless_present = "kubernetes")]
    pub out: Option<PathBuf>,

    /// A name or address by which tunnel-receive dials tunnel-send; may be repeated.
    #[arg(long, value_name = "HOST", required = true)]
    pub name: Vec<String>,

    /// The name of the dialling cluster, which its certificate proves.
    #[arg(long, value_name = "NAME", default_value = "cluster-b")]
    pub cluster: String,

    /// Print the Secrets `tunnel-send-keys` and `tunnel-receive-keys` of this namespace as YAML;
    /// without --out, the keys are written nowhere else.
    #[arg(long, value_name = "NAMESPACE", num_args = 0..=1, require_equals = true,
          default_missing_value = "cnp-tunnel", value_parser = parse_namespace)]
    pub kubernetes: Option<String>,
}

/// A name as Kubernetes wants it, which is also safe to stand in YAML.
fn parse_namespace(text: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = !text.starts_with('-') && !text.ends_with('-');
    if (1..=63).contains(&text.len()) && ends && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("a namespace has 1 to 63 of a-z, 0-9 and -, which is neither first nor last")
}

/// The end of the bridge that runs in cluster A: listens on one port per mapping and pushes what
/// comes there through the tunnel that `tunnel-receive` dials.
///
/// Every flag can also be set by the environment variable that is shown with it.
#[derive(Clone, Debug, Parser)]
#[command(version)]
#[command(after_help = "Examples:
  tunnel-send keys --out keys --name tunnel.example.com
  tunnel-send keys --kubernetes --name tunnel.example.com >keys.yaml
  tunnel-send --config config.json --keys keys/send --tunnel grpc://0.0.0.0:9000
  tunnel-send --config config.json --keys keys/send --tunnel ssh://0.0.0.0:2222
  tunnel-send --config config.json --tunnel-entry http://localhost:8079
  tunnel-send --config-map bridge/config --manage-services --keys keys/send --tunnel ssh://0.0.0.0:2222
  tunnel-send check config.json")]
pub struct ServeArgs {
    /// What both ends have.
    #[command(flatten)]
    pub base: BaseArgs,

    /// The folder with this end's keys: `DIR/send` of `tunnel-send keys --out DIR`.
    #[arg(
        long,
        value_name = "DIR",
        env = "ISTHMUS_KEYS",
        required_unless_present = "tunnel_entry"
    )]
    pub keys: Option<PathBuf>,

    /// Where to listen for the tunnel, as grpc://ADDRESS:PORT or ssh://ADDRESS:PORT; may be
    /// repeated, or a list with commas.
    #[arg(
        long,
        value_name = "URL",
        env = "ISTHMUS_TUNNEL",
        required_unless_present = "tunnel_entry",
        requires = "keys",
        value_delimiter = ','
    )]
    pub tunnel: Vec<TunnelUrl>,

    /// A port that an SSH server forwards to tunnel-receive, as http://HOST:PORT; may be repeated, or
    /// a list with commas, and through each a tunnel is kept up. Whoever holds that port gets the
    /// requests.
    #[arg(long, value_name = "URL", env = "ISTHMUS_TUNNEL_ENTRY", value_delimiter = ',')]
    pub tunnel_entry: Vec<EntryUrl>,

    /// Where the other replicas of tunnel-send take grpc:// tunnels, as HOST:PORT, for a name that
    /// has the addresses of all (a headless Service). A replica without a tunnel to the cluster
    /// that a request is for passes it on to one that has.
    #[arg(long, value_name = "HOST:PORT", env = "ISTHMUS_SIBLINGS", requires = "keys")]
    pub siblings: Option<HostPort>,

    /// The same, by the EndpointSlices of a Service in the namespace of --config-map, as NAME:PORT.
    #[arg(long, value_name = "NAME:PORT", env = "ISTHMUS_SIBLING_SERVICE",
          requires_all = ["keys", "config_map"], conflicts_with = "siblings")]
    pub sibling_service: Option<HostPort>,

    /// The address that the mappings' ports are opened on.
    #[arg(long, value_name = "ADDRESS", env = "ISTHMUS_BIND", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub bind: IpAddr,

    /// How long a request waits for a tunnel before it fails with 503.
    #[arg(long, value_name = "DURATION", env = "ISTHMUS_CONNECT_WAIT", default_value = "5s",
          value_parser = duration)]
    pub connect_wait: Duration,

    /// Keeps the ports of this Service, in the ConfigMap's namespace, and a Service for each mapping
    /// with a name as the config says; the Service is tunnel-send unless named. Needs --config-map.
    #[arg(
        long,
        value_name = "NAME",
        env = "ISTHMUS_MANAGE_SERVICES",
        num_args = 0..=1,
        default_missing_value = "tunnel-send"
    )]
    pub manage_services: Option<ServiceName>,

    /// Keeps the names of the connected clusters in the key hosts of this ConfigMap, for the hosts
    /// plugin of CoreDNS. Needs --config-map.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "ISTHMUS_DNS_HOSTS")]
    pub dns_hosts: Option<ConfigMapName>,

    /// How long callers are still accepted after SIGTERM, for whoever sends them here to learn of
    /// it; part of --drain-timeout, and shorter. Answers tell them meanwhile to connect anew.
    #[arg(long, value_name = "DURATION", env = "ISTHMUS_DRAIN_DELAY", default_value = "0s",
          value_parser = duration)]
    pub drain_delay: Duration,

    /// What callers may use at most.
    #[command(flatten)]
    pub limits: Limits,

    /// Requests that may be in flight at a time; more are answered with 503.
    #[arg(long, value_name = "COUNT", env = "ISTHMUS_MAX_REQUESTS", default_value_t = 8192,
          value_parser = at_most::<1_000_000>)]
    pub max_requests: usize,
}
