//! What a client is granted: to log in with its key, and one reverse forward.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Error, Pty};
use tokio::sync::watch;
use tunnel_common::keys::{AuthorizedKeys, KnownHosts};
use tunnel_common::tunnel::Forward;
use tunnel_common::tunnel::ssh::USER;

/// The port of a forward whose client leaves the choice to the server. Like every port here it is
/// a name only: nothing listens on it.
const ANY_PORT: u16 = 8079;

/// Refusals of one client that are logged; the others are not, so that it cannot fill the log.
const LOGGED: u32 = 8;

/// How far a client has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The names that its key has proved.
    pub(super) names: Vec<String>,
    /// What it has asked to be forwarded.
    pub(super) forward: Option<Forward>,
    /// Why it was last refused.
    pub(super) refusal: Option<String>,
}

/// One client, as `russh` asks about it.
pub(super) struct Visitor {
    address: SocketAddr,
    authorized: Arc<AuthorizedKeys>,
    /// Where `authorized` comes from, for the log.
    keys: String,
    progress: watch::Sender<Progress>,
    refused: u32,
}

impl Visitor {
    /// A client that has proved nothing. `keys` is the folder of `authorized`.
    pub(super) fn new(
        address: SocketAddr,
        authorized: Arc<AuthorizedKeys>,
        keys: &Path,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let keys = keys.join("authorized_keys").display().to_string();
        Self { address, authorized, keys, progress, refused: 0 }
    }

    /// Refuses a login. Whoever is at the other end learns no more than that.
    fn reject(&self, reason: String) -> Auth {
        self.progress.send_modify(|progress| progress.refusal = Some(reason));
        Auth::reject()
    }

    /// Logs that an authenticated client was refused something.
    fn refuse(&mut self, what: &str) {
        self.refused += 1;
        if self.refused <= LOGGED {
            let address = self.address;
            tracing::warn!(%address, what, "refused: this server has reverse forwards only");
        }
    }

    fn refuse_request(
        &mut self,
        what: &str,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.refuse(what);
        session.channel_failure(channel)
    }

    /// The cluster of a key, or why it has none.
    fn identify(&self, user: &str, key: &russh::keys::PublicKey) -> Result<&str, String> {
        if user != USER {
            return Err(format!("the user {user:?} is unknown; log in as {USER}"));
        }
        self.authorized.cluster(key).ok_or_else(|| {
            let fingerprint = KnownHosts::fingerprint(key);
            format!("the key {fingerprint} is not in {}", self.keys)
        })
    }
}

impl Handler for Visitor {
    type Error = Error;

    async fn auth_password(&mut self, _: &str, _: &str) -> Result<Auth, Error> {
        Ok(self.reject("it tried a password; only public keys are accepted".to_owned()))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Error> {
        Ok(match self.identify(user, offer.public_key) {
            Ok(_) => Auth::Accept,
            Err(reason) => self.reject(reason),
        })
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Error> {
        let cluster = match self.identify(user, key.public_key) {
            Ok(cluster) => cluster.to_owned(),
            Err(reason) => return Ok(self.reject(reason)),
        };
        self.progress.send_modify(|progress| {
            progress.names = vec![cluster];
            progress.refusal = Some("it logged in and asked for no forward: ssh -N -R".to_owned());
        });
        Ok(Auth::Accept)
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        _: &mut Session,
    ) -> Result<bool, Error> {
        let Ok(wanted) = u16::try_from(*port) else { return Ok(false) };
        if self.progress.borrow().forward.is_some() {
            self.refuse("a second forward; one carries all mappings");
            return Ok(false);
        }
        let granted = if wanted == 0 { ANY_PORT } else { wanted };
        *port = granted.into();
        let forward = Forward { address: address.to_owned(), port: granted };
        self.progress.send_modify(|progress| progress.forward = Some(forward));
        Ok(true)
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _: &mut Session,
    ) -> Result<bool, Error> {
        Ok(self.progress.send_if_modified(|progress| {
            let asked = progress.forward.as_ref();
            let same = asked
                .is_some_and(|asked| asked.address == address && u32::from(asked.port) == port);
            if same {
                progress.forward = None;
            }
            same
        }))
    }

    async fn streamlocal_forward(&mut self, _: &str, _: &mut Session) -> Result<bool, Error> {
        self.refuse("the forward of a local socket");
        Ok(false)
    }

    // Dropping a channel's handle refuses the channel.

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse("a session (shell, command, sftp)");
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse("X11");
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse("a direct TCP connection (ssh -L, -D, -W)");
        Ok(())
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse("a forwarded TCP connection from the client");
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.refuse("a connection to a local socket");
        Ok(())
    }

    // The only channel is the tunnel, which serves none of the following.

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        self.refuse_request("a terminal", channel, session)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.refuse_request("X11", channel, session)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.refuse_request("an environment variable", channel, session)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        self.refuse_request("a shell", id, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        self.refuse_request("a command", channel, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.refuse_request("a subsystem (sftp)", channel, session)
    }

    fn agent_request(
        &mut self,
        _: ChannelId,
        _: &mut Session,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        self.refuse("the key agent");
        std::future::ready(Ok(false))
    }
}
