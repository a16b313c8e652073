//! A bridge of two processes with any number of mappings.

use std::net::SocketAddr;

use crate::ends::Ends;
use crate::process::Process;

/// The port of the first mapping; the others follow it.
const FIRST: u16 = 8050;

/// Runs until it is dropped.
pub struct Bridge {
    pub ends: Ends,
    pub send: Process,
    pub receive: Process,
}

impl Bridge {
    /// Maps one port after the other to these URLs.
    pub fn to(targets: &[String]) -> Self {
        let ends = Ends::new(SocketAddr::from(([127, 0, 0, 1], 9)));
        let mappings: Vec<_> = (FIRST..)
            .zip(targets)
            .map(|(port, url)| format!(r#"{{ "port": "{port}", "remoteIP": "{url}" }}"#))
            .collect();
        ends.write_config(&format!(r#"{{ "data": [ {} ] }}"#, mappings.join(", ")));
        let (send, receive) = ends.start();
        Self { ends, send, receive }
    }

    /// Where the mapping with this index, in the order of the URLs, listens.
    pub fn mapping(&self, index: u16) -> SocketAddr {
        self.ends.place.port(FIRST + index)
    }
}
