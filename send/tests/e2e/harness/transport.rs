//! The transports: what differs between them when a bridge is built, and nothing else.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use tunnel_common::drain::Drain;
use tunnel_common::tunnel::ssh::Terms;
use tunnel_receive::app::App as ReceiveApp;
use tunnel_receive::args::ServeArgs as ReceiveArgs;
use tunnel_receive::tunnel::ssh::SshConnector;
use tunnel_send::app::App as SendApp;
use tunnel_send::args::ServeArgs as SendArgs;
use tunnel_send::tunnel::ssh::SshAcceptor;

use super::memory::Wire;
use super::place::Place;
use super::relay::Relay;
use super::stock::{Dial, Sshd};

/// What carries the tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    Grpc,
    Memory,
    /// SSH, both ends embedded.
    Ssh,
    /// The same through a relay.
    SshRelay,
    /// The same with new keys after each quarter of a megabyte.
    SshRekey,
    /// The stock `ssh -R` in front of the plain entrance, and the embedded server.
    SshClient,
    /// The embedded client, and a stock `sshd` whose port is the entry.
    SshServer,
    /// The stock `ssh -R` into a stock `sshd`.
    SshBoth,
}

/// Where each `tunnel-send`, or the `sshd` beside it, listens on its address.
pub const TUNNEL_PORT: u16 = 9000;

/// Where the relay in front of it listens.
const RELAY_PORT: u16 = 9500;

/// Where the `sshd` listens for the first `tunnel-receive`; for the others on the next ports.
const ENTRY_PORT: u16 = 9001;

/// Where each `tunnel-receive` has its plain entrance, on an address of its own.
const ENTRANCE_PORT: u16 = 8080;

const REKEY: Terms = Terms { rekey_bytes: 256 * 1024 };

impl Transport {
    /// How the `tunnel-send` at `place` gets its tunnels to so many `tunnel-receive`s.
    pub fn send_flags(self, place: &Place, receives: usize) -> Vec<String> {
        match self {
            Self::Grpc | Self::Memory => vec![tunnel("grpc", place)],
            Self::Ssh | Self::SshRelay | Self::SshRekey | Self::SshClient => {
                vec![tunnel("ssh", place)]
            }
            Self::SshServer | Self::SshBoth => (0..receives)
                .map(|number| format!("--tunnel-entry=http://{}", entry(place, number)))
                .collect(),
        }
    }

    /// How that `tunnel-receive` of several, at `place`, gets its tunnels to all `sends`.
    pub fn receive_flags(self, number: usize, place: &Place, sends: &[Place]) -> Vec<String> {
        match self {
            Self::Grpc | Self::Memory => sends.iter().map(|send| tunnel("grpc", send)).collect(),
            Self::Ssh | Self::SshRekey => sends.iter().map(|send| tunnel("ssh", send)).collect(),
            Self::SshRelay => sends
                .iter()
                .map(|send| format!("--tunnel=ssh://{}", send.port(RELAY_PORT)))
                .collect(),
            Self::SshServer => sends
                .iter()
                .map(|send| {
                    let (user, entry) = (Sshd::user(), entry(send, number));
                    format!("--tunnel=ssh://{user}@{}?forward={entry}", send.port(TUNNEL_PORT))
                })
                .collect(),
            Self::SshClient | Self::SshBoth => {
                vec![format!("--listen={}", place.port(ENTRANCE_PORT))]
            }
        }
    }

    /// The `sshd` beside the `tunnel-send` at `place`. `keys` is the folder of all keys.
    pub fn sshd(self, place: &Place, keys: &Path) -> Option<Sshd> {
        matches!(self, Self::SshServer | Self::SshBoth)
            .then(|| Sshd::start(place.port(TUNNEL_PORT), &keys.join("send"), ""))
    }

    /// The relay in front of the `tunnel-send` at `place`.
    pub fn relay(self, place: &Place) -> Option<Relay> {
        (self == Self::SshRelay)
            .then(|| Relay::start(place.port(RELAY_PORT), place.port(TUNNEL_PORT)))
    }

    /// What is to dial `send` on behalf of that `tunnel-receive` of several, at `place`.
    pub fn dial(self, send: &Place, number: usize, place: &Place, keys: &Path) -> Option<Dial> {
        let (user, bind) = match self {
            Self::SshClient => ("tunnel".to_owned(), ENTRY_PORT.to_string()),
            Self::SshBoth => (Sshd::user(), entry(send, number).to_string()),
            _ => return None,
        };
        let (server, target) = (send.port(TUNNEL_PORT), place.port(ENTRANCE_PORT).to_string());
        Some(Dial { keys: keys.join("receive"), server, user, bind, target })
    }

    pub async fn send(self, args: &SendArgs, wire: &Wire) -> Result<SendApp> {
        match self {
            Self::Memory => {
                let app = SendApp::without_tunnels(args)?;
                app.accept_from(wire.acceptor());
                Ok(app)
            }
            Self::SshRekey => {
                let app = SendApp::without_tunnels(args)?;
                let address = args.tunnel[0].place.to_string().parse()?;
                let keys = args.keys.as_ref().unwrap();
                app.accept_from(SshAcceptor::bind(address, keys, REKEY, &Drain::new()).await?);
                Ok(app)
            }
            _ => SendApp::build(args).await,
        }
    }

    pub async fn receive(self, args: &ReceiveArgs, wires: Vec<Wire>) -> Result<ReceiveApp> {
        match self {
            Self::Memory => {
                let app = ReceiveApp::without_tunnels(args).await?;
                wires.into_iter().for_each(|wire| app.dial_through(wire));
                Ok(app)
            }
            Self::SshRekey => {
                let app = ReceiveApp::without_tunnels(args).await?;
                let keys = args.keys.as_ref().unwrap();
                for url in &args.tunnel {
                    let connector = SshConnector::new(url.clone(), keys, REKEY, &Drain::new())?;
                    app.dial_through(connector);
                }
                Ok(app)
            }
            _ => ReceiveApp::build(args).await,
        }
    }
}

fn tunnel(scheme: &str, send: &Place) -> String {
    format!("--tunnel={scheme}://{}", send.port(TUNNEL_PORT))
}

fn entry(send: &Place, receive: usize) -> SocketAddr {
    send.port(ENTRY_PORT + u16::try_from(receive).unwrap())
}
