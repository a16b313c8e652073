//! The command line of `tunnel-receive`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tunnel_common::cli::BaseArgs;
use tunnel_common::flag::address;
use tunnel_common::tunnel::TunnelUrl;

/// What it can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate a config file without starting.
    Check {
        /// The file.
        file: PathBuf,
    },
}

/// The end of the bridge that runs in cluster B: dials `tunnel-send` and proxies the requests that
/// come through the tunnel to the services that the config names.
///
/// Every flag can also be set by the environment variable that is shown with it.
#[derive(Clone, Debug, Parser)]
#[command(version)]
#[command(after_help = "Examples:
  tunnel-receive --config config.json --keys keys/receive --tunnel grpc://tunnel.example.com:9000
  tunnel-receive --config config.json --keys keys/receive --tunnel ssh://tunnel.example.com:2222
  tunnel-receive --config config.json --listen 127.0.0.1:8080
  tunnel-receive check config.json")]
pub struct ServeArgs {
    /// What both ends have.
    #[command(flatten)]
    pub base: BaseArgs,

    /// The folder with this end's keys: `DIR/receive` of `tunnel-send keys --out DIR`.
    #[arg(long, value_name = "DIR", env = "ISTHMUS_KEYS", required_unless_present = "listen")]
    pub keys: Option<PathBuf>,

    /// What to dial, as grpc://HOST:PORT or ssh://USER@HOST:PORT; may be repeated, or a list with
    /// commas, and each is kept up. After an ssh URL, ?forward=ADDRESS:PORT says what a stock sshd is
    /// to listen on.
    #[arg(
        long,
        value_name = "URL",
        env = "ISTHMUS_TUNNEL",
        value_delimiter = ',',
        required_unless_present = "listen",
        requires = "keys"
    )]
    pub tunnel: Vec<TunnelUrl>,

    /// How many tunnels to keep up to each tunnel-send behind each --tunnel.
    #[arg(long, value_name = "COUNT", env = "ISTHMUS_CONNECTIONS", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=64))]
    pub connections: u8,

    /// The plain entrance, for requests that bring the header X-Proxy-Condition themselves;
    /// closed unless given. Whoever reaches it may choose any mapping.
    #[arg(long, value_name = "ADDRESS:PORT", env = "ISTHMUS_LISTEN", value_parser = address)]
    pub listen: Option<SocketAddr>,

    /// The name of this cluster; by default its certificate's, which must cover it.
    #[arg(long, value_name = "NAME", env = "ISTHMUS_CLUSTER")]
    pub cluster: Option<String>,
}
