//! The server as the client sees it: is it the right one, and whom does it let through?

use std::sync::Arc;

use russh::client::{ChannelOpenHandle, Handler, Msg, Session};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelOpenFailure, Names};
use tokio::sync::mpsc;
use tunnel_common::keys::{HostKeyProblem, SshClientKeys};
use tunnel_common::tunnel::HostPort;

/// The server of one connection, as `russh` asks about it.
pub(super) struct Host {
    place: HostPort,
    keys: Arc<SshClientKeys>,
    channels: mpsc::Sender<Channel<Msg>>,
}

/// Why the server is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostError {
    /// Its key is not the one that is known.
    #[error("the server's host key is not known: {problem}")]
    Key {
        /// The key that it showed.
        key: Box<PublicKey>,
        /// What is wrong with it.
        problem: HostKeyProblem,
    },
    /// It shows a certificate, for which it was not asked.
    #[error("the server shows a certificate instead of a host key")]
    Certificate,
    /// It lacks the cure of CVE-2023-48795.
    #[error("the server does not offer strict key exchange; update it")]
    NotStrict,
    /// The connection failed.
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

impl Host {
    /// The server at `place`. The channels that come through the forward go to `channels`.
    pub(super) fn new(
        place: HostPort,
        keys: Arc<SshClientKeys>,
        channels: mpsc::Sender<Channel<Msg>>,
    ) -> Self {
        Self { place, keys, channels }
    }
}

/// Refuses a kind of channel that was not asked for; `russh` would accept it. Dropping a channel's
/// handle is what refuses it.
macro_rules! refuse {
    ($kind:ident($($detail:ty),*)) => {
        async fn $kind(
            &mut self,
            _: Channel<Msg>,
            $(_: $detail,)*
            _: ChannelOpenHandle,
            _: &mut Session,
        ) -> Result<(), HostError> {
            tracing::debug!(server = %self.place, kind = stringify!($kind), "refused a channel");
            Ok(())
        }
    };
}

impl Handler for Host {
    type Error = HostError;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, HostError> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Err(HostError::Certificate);
        };
        let HostPort { host, port } = &self.place;
        match self.keys.known_hosts.check(host, *port, key) {
            Ok(()) => Ok(true),
            Err(problem) => Err(HostError::Key { key: Box::new(key.clone()), problem }),
        }
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut Session,
    ) -> Result<(), HostError> {
        match names.strict_kex() {
            true => Ok(()),
            false => Err(HostError::NotStrict),
        }
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), HostError> {
        // Full or closed: enough are waiting, or one has been chosen.
        match self.channels.try_send(channel) {
            Ok(()) => reply.accept().await,
            Err(_) => reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await,
        }
        Ok(())
    }

    refuse! { server_channel_open_session() }
    refuse! { server_channel_open_direct_tcpip(&str, u32, &str, u32) }
    refuse! { server_channel_open_direct_streamlocal(&str) }
    refuse! { server_channel_open_forwarded_streamlocal(&str) }
    refuse! { server_channel_open_x11(&str, u32) }
    refuse! { server_channel_open_agent_forward() }
}
