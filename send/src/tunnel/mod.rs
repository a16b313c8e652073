//! The transports on which `tunnel-send` awaits the other cluster.

pub mod entry;
pub mod grpc;
pub mod ssh;

mod listener;
mod waiting;

pub use self::listener::BindError;
