//! A bridge of two processes with any number of mappings.

use std::net::SocketAddr;

use crate::ends::Ends;
use crate::process::Process;

/// Runs until it is dropped.
pub struct Bridge {
    pub ends: Ends,
    _send: Process,
    _receive: Process,
}

impl Bridge {
    /// Maps one port after the other to these URLs, with a tunnel over gRPC.
    pub fn to(targets: &[String]) -> Self {
        Self::over("grpc", targets)
    }

    /// The same over a transport, by the scheme of its URL.
    pub fn over(transport: &str, targets: &[String]) -> Self {
        let ends = Ends::to(targets).over(transport);
        let (send, receive) = ends.start();
        Self { ends, _send: send, _receive: receive }
    }

    /// Where the mapping with this index, in the order of the URLs, listens.
    pub fn mapping(&self, index: u16) -> SocketAddr {
        self.ends.mapping(index)
    }
}
