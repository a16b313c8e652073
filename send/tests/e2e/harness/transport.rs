//! The transports: what differs between them when a bridge is built, and nothing else.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use tunnel_receive::app::App as ReceiveApp;
use tunnel_receive::args::ServeArgs as ReceiveArgs;
use tunnel_send::app::App as SendApp;
use tunnel_send::args::ServeArgs as SendArgs;

use super::memory::Wire;
use super::place::Place;
use super::stock::{self, Program, Sshd};

/// What carries the tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    Grpc,
    Memory,
    /// SSH, both ends embedded.
    Ssh,
    /// The stock `ssh -R` in front of the plain entrance, and the embedded server.
    SshClient,
    /// The embedded client, and a stock `sshd` whose port is the entry.
    SshServer,
    /// The stock `ssh -R` into a stock `sshd`.
    SshBoth,
}

/// Where each `tunnel-send`, or the `sshd` beside it, listens on its address.
const TUNNEL_PORT: u16 = 9000;

/// Where the `sshd` listens for the first `tunnel-receive`; for the others on the next ports.
const ENTRY_PORT: u16 = 9001;

/// Where each `tunnel-receive` has its plain entrance, on an address of its own.
const ENTRANCE_PORT: u16 = 8080;

impl Transport {
    /// How the `tunnel-send` at `place` gets its tunnels to so many `tunnel-receive`s.
    pub fn send_flags(self, place: &Place, receives: usize) -> Vec<String> {
        match self {
            Self::Grpc | Self::Memory => vec![tunnel("grpc", place)],
            Self::Ssh | Self::SshClient => vec![tunnel("ssh", place)],
            Self::SshServer | Self::SshBoth => (0..receives)
                .map(|number| format!("--tunnel-entry=http://{}", entry(place, number)))
                .collect(),
        }
    }

    /// How that `tunnel-receive` of several, at `place`, gets its tunnels to all `sends`.
    pub fn receive_flags(self, number: usize, place: &Place, sends: &[Place]) -> Vec<String> {
        match self {
            Self::Grpc | Self::Memory => sends.iter().map(|send| tunnel("grpc", send)).collect(),
            Self::Ssh => sends.iter().map(|send| tunnel("ssh", send)).collect(),
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

    /// What dials `send` on behalf of that `tunnel-receive` of several, at `place`.
    pub fn dial(self, send: &Place, number: usize, place: &Place, keys: &Path) -> Option<Program> {
        let (user, bind) = match self {
            Self::SshClient => ("tunnel".to_owned(), format!("{}", ENTRY_PORT)),
            Self::SshBoth => (Sshd::user(), entry(send, number).to_string()),
            Self::Grpc | Self::Memory | Self::Ssh | Self::SshServer => return None,
        };
        let mut ssh = stock::ssh(&keys.join("receive"));
        ssh.arg("-R").arg(format!("{bind}:{}", place.port(ENTRANCE_PORT)));
        ssh.arg("-p").arg(TUNNEL_PORT.to_string()).arg(format!("{user}@{}", send.address));
        Some(Program::start(&mut ssh))
    }

    pub async fn send(self, args: &SendArgs, wire: &Wire) -> Result<SendApp> {
        match self {
            Self::Memory => {
                let app = SendApp::without_tunnels(args)?;
                app.accept_from(wire.acceptor());
                Ok(app)
            }
            _ => SendApp::build(args).await,
        }
    }

    pub async fn receive(self, args: &ReceiveArgs, wires: Vec<Wire>) -> Result<ReceiveApp> {
        match self {
            Self::Memory => {
                let mut app = ReceiveApp::without_tunnels(args).await?;
                wires.into_iter().for_each(|wire| app.dial_through(wire));
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
