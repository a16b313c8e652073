//! TCP connections to a host that may have several addresses.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::backoff::random;
use crate::tunnel::HostPort;

/// How long the lookup of the name may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// How long the connections to all addresses of the name may take together.
const LIMIT: Duration = Duration::from_secs(3);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("the name {host} does not resolve: {error}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// The last address does not answer.
    #[error("no connection to {address}: {error}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        error: io::Error,
    },
}

/// Connects to `place`, without Nagle's delay. Looks the name up each time, for 5 s at most, as its
/// addresses may have moved, and tries all of them, for 3 s together. It begins with any of them, so
/// that who dials often enough reaches each.
pub async fn dial(place: &HostPort) -> Result<(TcpStream, SocketAddr), DialError> {
    let unknown = |error| DialError::Lookup { host: place.host.clone(), error };
    let found = timeout(LOOKUP_LIMIT, lookup_host((place.host.as_str(), place.port)))
        .await
        .unwrap_or_else(|_| Err(io::Error::other("no answer from the resolver")))
        .map_err(unknown)?;
    let mut addresses: Vec<_> = found.collect();
    let first = (random() * addresses.len() as f64) as usize;
    addresses.rotate_left(first);
    let share = LIMIT / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = unknown(io::Error::other("it has no address"));
    for address in addresses {
        let error = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                // Only latency suffers without it.
                let _ = tcp.set_nodelay(true);
                return Ok((tcp, address));
            }
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        last = DialError::Tcp { address, error };
    }
    Err(last)
}
