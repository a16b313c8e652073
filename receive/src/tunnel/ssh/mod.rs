//! The `ssh` transport's dialling side: an embedded SSH client that asks for a reverse forward.

mod host;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::PrivateKeyWithHashAlg;
use russh::{Channel, Disconnect};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tunnel_common::dial::dial;
use tunnel_common::drain::Drain;
use tunnel_common::keys::{KeysError, KnownHosts, SshClientKeys};
use tunnel_common::tunnel::ssh::{Link, Returned, SshChannel, SshClient, Terms, USER, Wire};
use tunnel_common::tunnel::{ConnectError, Connector, Forward, Peer, TunnelUrl};

use self::host::{Host, HostError};

/// How long one try may take, from the name's lookup to the server's consent to the forward.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long whoever comes through the forward may take to begin a tunnel. Others wait meanwhile.
const PREFACE_LIMIT: Duration = Duration::from_secs(2);

/// How many may wait.
const MAX_WAITING: usize = 4;

/// The first byte of a tunnel, with which nothing else begins.
const TUNNEL: u8 = 0;

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What is asked for unless the URL says something else. To the embedded server it is a name.
const FORWARD: (&str, u16) = ("localhost", 8079);

/// Dials a tunnel as a reverse forward of SSH, from the embedded server or a stock one.
///
/// Each connection serves one tunnel: the first that comes through the forward and begins like
/// one. Others are refused as long as it lives.
pub struct SshConnector {
    url: TunnelUrl,
    user: String,
    forward: Forward,
    keys: String,
    client: SshClient,
    drain: Drain,
}

impl SshConnector {
    /// Will dial the host and port of `url`, with the keys in the folder `keys`; see
    /// [`SshClientKeys::load`]. Changed keys are taken up by themselves. All tasks run in `drain`,
    /// or are ended by one that does.
    ///
    /// # Errors
    /// The keys cannot be used.
    pub fn new(
        url: TunnelUrl,
        keys: &Path,
        terms: Terms,
        drain: &Drain,
    ) -> Result<Self, KeysError> {
        let (address, port) = FORWARD;
        let forward = url.forward.clone();
        Ok(Self {
            user: url.user.clone().unwrap_or_else(|| USER.to_owned()),
            forward: forward.unwrap_or_else(|| Forward { address: address.to_owned(), port }),
            keys: keys.display().to_string(),
            client: SshClient::new(keys, &url.place.host, url.place.port, terms)?,
            drain: drain.clone(),
            url,
        })
    }

    /// Connects, proves both ends, and asks for the forward.
    async fn open(&self) -> Result<Forwarding, String> {
        let (tcp, address) = dial(&self.url.place).await.map_err(|error| error.to_string())?;
        let (config, keys) = self.client.current();
        let link = Link::new();
        let cut = link.cut_on_drop();
        let (sender, channels) = mpsc::channel(MAX_WAITING);
        let host = Host::new(self.url.place.clone(), Arc::clone(&keys), sender);
        let wire = Wire::of_client(tcp, link.clone());
        let mut handle = client::connect_stream(config, wire, host)
            .await
            .map_err(|error| self.explain(&error))?;
        self.log_in(&mut handle, &keys).await?;
        let Forward { address: name, port } = &self.forward;
        // Answers 0 where the port was not left to the server.
        match handle.tcpip_forward(name, u32::from(*port)).await {
            Ok(_) => {}
            Err(russh::Error::RequestDenied) => return Err(self.denied()),
            Err(error) => return Err(error.to_string()),
        }
        let peer = Peer { address: address.to_string(), names: vec![self.url.place.host.clone()] };
        Ok(Forwarding { handle, link, _cut: cut, channels, peer })
    }

    async fn log_in(&self, handle: &mut Handle<Host>, keys: &SshClientKeys) -> Result<(), String> {
        let key = PrivateKeyWithHashAlg::new(Arc::new(keys.key.clone()), None);
        let user = &self.user;
        match handle.authenticate_publickey(user, key).await {
            Ok(AuthResult::Success) => Ok(()),
            Ok(AuthResult::Failure { .. }) if handle.is_closed() => {
                Err("the server hung up during the login".to_owned())
            }
            Ok(AuthResult::Failure { .. }) => Err(format!(
                "the server refused the key {} ({}) of the user {user}: add {}.pub to the \
                 authorized_keys there",
                keys.path.display(),
                KnownHosts::fingerprint(keys.key.public_key()),
                keys.path.display(),
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    fn explain(&self, error: &HostError) -> String {
        match error {
            HostError::Key { key, problem } => {
                let place = &self.url.place;
                format!(
                    "the server's host key is not the one in {keys}/known_hosts: {problem}. It \
                     showed {fingerprint}; if that is right, put there: {line}",
                    keys = self.keys,
                    fingerprint = KnownHosts::fingerprint(key),
                    line = KnownHosts::line(&place.host, place.port, key),
                )
            }
            HostError::Ssh(russh::Error::Disconnect | russh::Error::HUP) => {
                "the server hung up; is it an SSH server?".to_owned()
            }
            error => error.to_string(),
        }
    }

    fn denied(&self) -> String {
        format!(
            "the server refused to forward {forward}. If it is an sshd, a dead connection may \
             still hold the port: set ClientAliveInterval 1 and ClientAliveCountMax 3 there. Or \
             AllowTcpForwarding, PermitListen or the key's permitlisten do not allow it",
            forward = self.forward
        )
    }
}

impl Connector for SshConnector {
    type Io = SshChannel<Msg>;

    async fn connect(&self) -> Result<(SshChannel<Msg>, Peer), ConnectError> {
        let failed = |why| ConnectError(format!("{}: {why}", self.url));
        let mut forwarding = match timeout(CONNECT_LIMIT, self.open()).await {
            Ok(opened) => opened.map_err(failed)?,
            Err(_) => return Err(failed(format!("no answer within {CONNECT_LIMIT:?}"))),
        };
        tracing::debug!(url = %self.url, forward = %self.forward, "the forward is up");
        let Some((channel, returned)) = forwarding.tunnel().await else {
            return Err(failed("the connection ended before a tunnel came through it".to_owned()));
        };
        let peer = forwarding.peer.clone();
        self.drain.spawn(forwarding.end_after(returned));
        Ok((channel, peer))
    }
}

/// A connection whose server has agreed to the forward. Dropping it cuts the TCP connection.
struct Forwarding {
    handle: Handle<Host>,
    link: Link,
    _cut: DropGuard,
    channels: mpsc::Receiver<Channel<Msg>>,
    peer: Peer,
}

impl Forwarding {
    /// Waits until somebody who begins a tunnel comes through the forward, and takes no one else
    /// from then on. Waits without a limit, as long as the server is alive: behind a stock sshd,
    /// it is for tunnel-send to come. `None` once the connection is over.
    async fn tunnel(&mut self) -> Option<(SshChannel<Msg>, Returned<Msg>)> {
        let found = loop {
            let channel = self.channels.recv().await?;
            let (mut channel, returned) = self.carry(channel);
            match timeout(PREFACE_LIMIT, channel.peek()).await {
                Ok(Ok(Some(TUNNEL))) => break (channel, returned),
                _ => tracing::debug!(peer = %self.peer, "closed a connection that is no tunnel"),
            }
        };
        self.channels.close();
        while let Ok(channel) = self.channels.try_recv() {
            drop(self.carry(channel));
        }
        Some(found)
    }

    fn carry(&self, channel: Channel<Msg>) -> (SshChannel<Msg>, Returned<Msg>) {
        SshChannel::new(channel, self.link.clone(), CancellationToken::new())
    }

    async fn end_after(self, tunnel: Returned<Msg>) {
        tunnel.wait().await;
        let leave = async {
            if self
                .handle
                .disconnect(Disconnect::ByApplication, "the tunnel ended", "")
                .await
                .is_ok()
            {
                let _ = self.handle.await;
            }
        };
        // The cut follows in any case.
        let _ = timeout(GOODBYE, leave).await;
    }
}
