//! The `tunnel-receive` end of the bridge, as a library: the binary, the tests and the benchmarks
//! share it.
//!
//! [`dialler`] or [`entrance`] → [`sessions`] → [`forward`] → [`upstream`].

pub mod app;
pub mod args;
pub mod dialler;
pub mod entrance;
pub mod forward;
pub mod health;
pub mod metrics;
pub mod sessions;
pub mod tunnel;
pub mod upstream;
mod workers;
