//! Loopback addresses: the ports of mappings are given, so each bridge has an address of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address that no other bridge on this machine uses.
pub struct Place {
    pub address: IpAddr,
    _held: TcpListener,
}

impl Place {
    /// Whoever holds this port holds the address.
    const LOCK: u16 = 65000;

    /// Takes the next free address, beginning at one that the process id says.
    pub fn take() -> Self {
        static TAKEN: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = (std::process::id() << 8) + TAKEN.fetch_add(1, Ordering::Relaxed);
            // Past 127.1.0.0, where nobody listens by default, and below the broadcast address.
            let [_, a, b, c] = (number % 0xfe_0000 + 0x1_0000).to_be_bytes();
            let address = Ipv4Addr::new(127, a, b, c).into();
            if let Ok(held) = TcpListener::bind((address, Self::LOCK)) {
                return Self { address, _held: held };
            }
        }
    }

    pub fn port(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }
}
