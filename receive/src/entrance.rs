//! The plain entrance: requests that bring their condition, and tunnels that `ssh -R` carries here.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tunnel_common::drain::Drain;
use tunnel_common::edge::{self, Limits, Listener};
use tunnel_common::headers::Address;
use tunnel_common::http1::Stream;
use tunnel_common::metrics::Unfinished;
use tunnel_common::tunnel::Peer;

use crate::forward::Forward;
use crate::sessions::Sessions;

/// How long a connection may say nothing at its beginning.
const FIRST_BYTE: Duration = Duration::from_secs(60);

/// Listens for both kinds and tells them apart by the first byte: no HTTP begins with 0.
pub struct Entrance {
    listener: Listener,
    forward: Rc<Forward>,
    sessions: Rc<Sessions>,
    /// Counts the connections that were broken off.
    cut: Counter,
    drain: Drain,
}

impl Entrance {
    /// Opens the entrance, for 10 000 connections at a time. Whoever reaches it may name any
    /// condition, so `address` should be one that only trusted callers reach.
    pub fn bind(
        address: SocketAddr,
        forward: Rc<Forward>,
        sessions: Rc<Sessions>,
        cut: Counter,
        drain: Drain,
    ) -> io::Result<Self> {
        let listener = Listener::bind(address, Limits::default().max_connections)?;
        Ok(Self { listener, forward, sessions, cut, drain })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the drain is asked.
    pub async fn serve(self) {
        let mut asked = pin!(self.drain.asked());
        loop {
            let (stream, peer, place) = tokio::select! {
                () = &mut asked => return,
                accepted = self.listener.accept("entrance") => accepted,
            };
            let (forward, sessions) = (Rc::clone(&self.forward), Rc::clone(&self.sessions));
            let (cut, drain) = (self.cut.clone(), self.drain.clone());
            self.drain.spawn(async move {
                let first = tokio::select! {
                    biased;
                    first = timeout(FIRST_BYTE, is_tunnel(&stream)) => first,
                    () = drain.asked() => return,
                };
                match first {
                    Ok(Ok(true)) => {
                        let peer = Peer { address: peer.to_string(), names: Vec::new() };
                        let number = sessions.free_number();
                        let session = sessions.start(stream, peer, number, false);
                        let end = sessions.serve(&session).await;
                        tracing::info!(peer = %session.peer(), reason = %end, "tunnel ended");
                        sessions.release_number(number);
                    }
                    Ok(Ok(false)) => {
                        let peer = Rc::new(Address::from(peer.ip()));
                        let call =
                            |head, body| Rc::clone(&forward).call(Rc::clone(&peer), head, body);
                        let refuse = |error: &_| forward.counted(forward.refuse(error, false));
                        let (stream, limits) = (Stream::Plain(stream), Limits::default());
                        let unfinished = Unfinished::new(&cut);
                        edge::serve(stream, call, refuse, &limits, &drain).await;
                        unfinished.ended();
                    }
                    _ => tracing::debug!(%peer, "a connection said nothing"),
                }
                drop(place);
            });
        }
    }
}

async fn is_tunnel(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first == [0]),
    }
}
