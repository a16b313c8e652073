//! Where callers connect.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that may wait to be accepted, per listener.
const BACKLOG: u32 = 1024;

/// How long accepting pauses when the system has nothing left to accept with (`EMFILE`).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much of an answer the system may hold that the caller's side has no room for. Without a
/// bound it takes megabytes for each caller that reads slowly, and a thousand of those slow down
/// every connection of the machine.
const UNSENT: u32 = 128 * 1024;

/// Listens on `address`. What is set here each accepted connection inherits, which spares it two
/// system calls.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port whose last connections still linger can be opened again at once.
    socket.set_reuseaddr(true)?;
    // Only latency and memory suffer on a system that lacks these.
    let _ = socket.set_nodelay(true);
    let _ = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT);
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The next connection of `listener`. Survives what only concerns one connection, and waits out a
/// lack of file descriptors; `name` is for the log. Cancel safe.
pub async fn accept(listener: &TcpListener, name: &str) -> (TcpStream, SocketAddr) {
    let mut complained = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
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

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_inherits_the_options_of_its_listener() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (_caller, accepted) =
            tokio::join!(TcpStream::connect(address), accept(&listener, "test"));
        let socket = socket2::SockRef::from(&accepted.0);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
    }
}
