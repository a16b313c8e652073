//! The `tunnel-send` end of the bridge, as a library: the binary, the tests and the benchmarks share it.
//!
//! [`listeners`] → [`forward`] → [`sessions`] ([`exchange`]) → the tunnel.

pub mod app;
pub mod args;
mod callers;
pub mod exchange;
pub mod forward;
pub mod listeners;
pub mod metrics;
pub mod sessions;
pub mod tunnel;
pub mod upload;
