//! What both ends of the SSH transport share.
//!
//! A tunnel is *one* `forwarded-tcpip` channel of an SSH connection, because channels of `russh`
//! are not independent of each other: a reader that stalls stalls them all, and several busy ones
//! do not survive a change of keys. Around `russh`, which drives the connection in a task of its
//! own, lie two layers: below it the [`Wire`], which never makes it wait for a full socket, and
//! above it the [`SshChannel`], which writes no more than the wire takes. A [`Link`] joins them.

mod allowance;
mod channel;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod link;
mod opening;
mod terms;
#[cfg(test)]
mod tests;
mod wire;

pub use self::channel::{Returned, SshChannel};
pub use self::link::Link;
pub use self::terms::{SshClient, SshServer, Terms};
pub use self::wire::Wire;

/// The user as whom tunnels log in.
pub const USER: &str = "tunnel";
