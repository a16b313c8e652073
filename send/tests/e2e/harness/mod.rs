//! Whole bridges in one process: both apps on threads of their own, origins behind them, callers
//! in front. Dropping a part ends it, and fails the test if it did not end well.

mod body;
mod bridge;
mod caller;
mod end;
mod exchange;
mod load;
mod mappings;
mod memory;
mod origin;
mod panics;
mod place;
mod relay;
mod reply;
mod socket;
mod stock;
mod transport;
mod wait;
mod worker;

pub use self::body::{Filler, block, boxed, channel, filled, full};
pub use self::bridge::{Bridge, Running, log};
pub use self::caller::{Caller, get};
pub use self::end::End;
pub use self::exchange::{Http1, Http2, run};
pub use self::load::Load;
pub use self::origin::Origin;
pub use self::place::Place;
pub use self::relay::Relay;
pub use self::reply::Reply;
pub use self::socket::Socket;
pub use self::stock::{Dial, Program, Sshd};
pub use self::transport::Transport;
pub use self::wait::{LIMIT, until};
