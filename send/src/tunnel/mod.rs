//! The transports on which `tunnel-send` awaits the other cluster.

pub mod grpc;
mod waiting;
