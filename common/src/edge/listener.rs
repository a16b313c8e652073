//! Where callers connect.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that may wait to be accepted, per listener.
const BACKLOG: u32 = 1024;

/// How long accepting pauses when the system has nothing left to accept with (`EMFILE`).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much of an answer the system may hold that the caller's side has no room for. Without a
/// bound it takes megabytes for each caller that reads slowly, and a thousand of those slow down
/// every connection of the machine.
const UNSENT: u32 = 128 * 1024;

/// A port that holds so many connections at a time; more wait in the system's queue.
pub struct Listener {
    socket: TcpListener,
    places: Arc<Semaphore>,
}

/// One of the connections that a [`Listener`] holds, until it is dropped.
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Listener {
    /// Listens on `address`. What is set here each accepted connection inherits, which spares it two
    /// system calls.
    pub fn bind(address: SocketAddr, max_connections: usize) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A port whose last connections still linger can be opened again at once.
        socket.set_reuseaddr(true)?;
        // Only latency and memory suffer on a system that lacks these.
        let _ = socket.set_nodelay(true);
        let _ = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT);
        socket.bind(address)?;
        let places = Arc::new(Semaphore::new(max_connections));
        Ok(Self { socket: socket.listen(BACKLOG)?, places })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection, once there is a place for it. Survives what only concerns one
    /// connection, and waits out a lack of file descriptors; `name` is for the log. Cancel safe.
    pub async fn accept(&self, name: &str) -> (TcpStream, SocketAddr, Place) {
        let place = Place { _permit: Arc::clone(&self.places).acquire_owned().await.ok() };
        let mut complained = false;
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => return (stream, peer, place),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(listener = name, %error, "cannot accept; trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_connection_inherits_the_options_of_its_listener() {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), 1).unwrap();
        let address = listener.local_addr().unwrap();
        let (_caller, (accepted, ..)) =
            tokio::join!(TcpStream::connect(address), listener.accept("test"));
        let socket = socket2::SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
    }

    #[tokio::test]
    async fn a_connection_too_many_waits_for_a_place() {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), 1).unwrap();
        let address = listener.local_addr().unwrap();
        let _callers = tokio::join!(TcpStream::connect(address), TcpStream::connect(address));
        let (_stream, _, place) = listener.accept("test").await;
        let mut second = pin!(listener.accept("test"));
        // It is there to be accepted, so that the first try would take it.
        assert!(timeout(Duration::ZERO, &mut second).await.is_err());
        drop(place);
        second.await;
    }
}
