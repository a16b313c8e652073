//! The bridge between clients and origins that others wrote: what a caller sees through it is what
//! it sees without it, and no request becomes two.
//!
//! `scripts/test unit` installs those programs and runs this; cargo's temporary folder holds what
//! comes from package registries.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "clippy.toml's exception for tests misses helpers"
)]
#![expect(unreachable_pub, reason = "nothing in a test binary is reachable from outside")]

/// What these tests share with those of whole bridges in one process.
#[allow(dead_code, reason = "each of them uses a part")]
#[path = "../e2e/harness"]
mod harness {
    pub mod caller;
    pub mod place;
    pub mod reply;
    pub mod wait;
}
#[allow(dead_code, reason = "each of them uses a part")]
#[path = "../binaries/ends.rs"]
mod ends;
#[allow(dead_code, reason = "each of them uses a part")]
#[path = "../binaries/process.rs"]
mod process;
#[allow(dead_code, reason = "each of them uses a part")]
#[path = "../binaries/target.rs"]
mod target;

mod bridge;
mod corpus;
mod curl;
mod foreign;
mod matrix;
mod observation;
mod origins;
mod responses;
mod smuggling;
mod turnover;
