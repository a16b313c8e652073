//! The transports by which `tunnel-receive` dials the other cluster.

pub mod ssh;
