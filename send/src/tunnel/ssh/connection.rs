//! One client that has logged in: keeps one channel open towards it.

use std::pin::pin;
use std::time::Duration;

use russh::server::{Handle, Msg, RunningSession};
use russh::{ChannelOpenFailure, Disconnect, Error};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tunnel_common::drain::Drain;
use tunnel_common::retry::Retry;
use tunnel_common::tunnel::ssh::{Link, SshChannel};
use tunnel_common::tunnel::{Forward, Peer};

use super::visitor::{Progress, Visitor};

/// How long a client may be without a forward.
const NO_FORWARD: Duration = Duration::from_secs(5);

/// How long a client may take to open the channel. Stock clients connect to their target first,
/// for which TCP takes 127 s at most.
const OPEN_LIMIT: Duration = Duration::from_secs(130);

/// How long to wait after a tunnel's end. The embedded client leaves then, and needs no other.
const LEAVE: Duration = Duration::from_millis(100);

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// The connection of one client. Dropping it cuts the TCP connection.
pub(super) struct Connection {
    session: RunningSession<Visitor>,
    handle: Handle,
    link: Link,
    /// Cuts the TCP connection, and ends the task of `session` with it.
    _cut: DropGuard,
    progress: watch::Receiver<Progress>,
    peer: Peer,
    drain: Drain,
}

/// Why a channel is over.
enum End {
    /// It may be opened again.
    Channel(Duration),
    /// The client takes none now, and why.
    Refused(String),
    /// The connection is over or of no more use, and why.
    Connection(String),
}

impl Connection {
    pub(super) fn new(
        session: RunningSession<Visitor>,
        link: Link,
        cut: DropGuard,
        progress: watch::Receiver<Progress>,
        peer: Peer,
        drain: Drain,
    ) -> Self {
        let handle = session.handle();
        Self { session, handle, link, _cut: cut, progress, peer, drain }
    }

    /// Hands tunnels to `ready`, one after the other, until the client is gone, has no more use
    /// for one, or the drain is asked.
    pub(super) async fn run(mut self, ready: mpsc::Sender<(SshChannel<Msg>, Peer)>) {
        let drain = self.drain.clone();
        let reason = tokio::select! {
            reason = self.serve(ready) => reason,
            () = drain.asked() => "shutting down".to_owned(),
        };
        tracing::debug!(peer = %self.peer, reason, "an SSH connection ended");
        let bye = self.handle.disconnect(Disconnect::ByApplication, reason, String::new());
        let leave = async {
            // Fails if the session is over already; then it must not be awaited once more.
            if bye.await.is_ok() {
                let _ = self.session.await;
            }
        };
        // The cut follows in any case.
        let _ = timeout(GOODBYE, leave).await;
    }

    async fn serve(&mut self, ready: mpsc::Sender<(SshChannel<Msg>, Peer)>) -> String {
        let mut retry = Retry::new(format!("opening a tunnel to {}", self.peer));
        loop {
            let Some(forward) = self.forward().await else { return "no forward".to_owned() };
            let pause = match self.channel(&forward, &ready, &mut retry).await {
                End::Channel(lived) => retry.ended(lived).max(LEAVE),
                End::Refused(reason) => retry.failed(&reason),
                End::Connection(reason) => return reason,
            };
            tokio::select! {
                () = sleep(pause) => {}
                ended = &mut self.session => return describe(ended),
            }
        }
    }

    /// What the client wants forwarded.
    async fn forward(&mut self) -> Option<Forward> {
        let asked = self.progress.wait_for(|progress| progress.forward.is_some());
        timeout(NO_FORWARD, asked).await.ok()?.ok()?.forward.clone()
    }

    /// Opens a channel, and waits until the tunnel on it is over.
    async fn channel(
        &mut self,
        forward: &Forward,
        ready: &mpsc::Sender<(SshChannel<Msg>, Peer)>,
        retry: &mut Retry,
    ) -> End {
        // The client finds its target by exactly the words that it has used itself.
        let (address, port) = (forward.address.as_str(), u32::from(forward.port));
        let opening = self.handle.channel_open_forwarded_tcpip(address, port, "127.0.0.1", 0);
        let opened = tokio::select! {
            opened = timeout(OPEN_LIMIT, opening) => opened,
            ended = &mut self.session => return End::Connection(describe(ended)),
        };
        let channel = match opened {
            Ok(Ok(channel)) => channel,
            Ok(Err(Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed))) => {
                return End::Refused("it does not reach its tunnel-receive --listen".to_owned());
            }
            // Paramiko says so when the channel comes sooner than it expects.
            Ok(Err(Error::ChannelOpenFailure(reason))) => {
                return End::Refused(format!("it takes no channel now ({reason:?})"));
            }
            Ok(Err(error)) => return End::Connection(error.to_string()),
            Err(_) => return End::Connection("it does not open a channel".to_owned()),
        };
        retry.worked();
        let begun = Instant::now();
        let end = CancellationToken::new();
        let (channel, returned) = SshChannel::new(channel, self.link.clone(), end.clone());
        if ready.send((channel, self.peer.clone())).await.is_err() {
            return End::Connection("shutting down".to_owned());
        }
        let mut over = pin!(returned.wait());
        let cancelled = async {
            // The guard that comes of it would lock the visitor out.
            drop(self.progress.wait_for(|now| now.forward.as_ref() != Some(forward)).await);
        };
        tokio::select! {
            () = &mut over => {}
            () = cancelled => {
                end.cancel();
                over.await;
            }
        }
        End::Channel(begun.elapsed())
    }
}

fn describe(ended: Result<(), Error>) -> String {
    match ended {
        Ok(()) => "the client left".to_owned(),
        Err(error) => error.to_string(),
    }
}
