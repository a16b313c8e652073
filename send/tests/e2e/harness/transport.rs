//! The transports: what differs between them when a bridge is built, and nothing else.

use anyhow::Result;
use tunnel_receive::app::App as ReceiveApp;
use tunnel_receive::args::ServeArgs as ReceiveArgs;
use tunnel_send::app::App as SendApp;
use tunnel_send::args::ServeArgs as SendArgs;

use super::memory::Wire;

/// What carries the tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    Grpc,
    Memory,
    Ssh,
}

impl Transport {
    /// The scheme of `--tunnel`; the transport in memory has none and passes it by.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Grpc | Self::Memory => "grpc",
            Self::Ssh => "ssh",
        }
    }

    pub async fn send(self, args: &SendArgs, wire: &Wire) -> Result<SendApp> {
        match self {
            Self::Memory => {
                let app = SendApp::without_tunnels(args)?;
                app.accept_from(wire.acceptor());
                Ok(app)
            }
            Self::Grpc | Self::Ssh => SendApp::build(args).await,
        }
    }

    pub async fn receive(self, args: &ReceiveArgs, wires: Vec<Wire>) -> Result<ReceiveApp> {
        match self {
            Self::Memory => {
                let mut app = ReceiveApp::without_tunnels(args).await?;
                wires.into_iter().for_each(|wire| app.dial_through(wire));
                Ok(app)
            }
            Self::Grpc | Self::Ssh => ReceiveApp::build(args).await,
        }
    }
}
