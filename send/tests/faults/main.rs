//! Whole bridges of real processes, in networks of which only one can dial the other, while wires
//! break, processes die, and everything is replaced. They need root, for the networks.
//!
//! `ISTHMUS_BIN` names the folder of the binaries, as for the other tests of processes. Longer runs:
//! `ISTHMUS_ROUNDS` is how often each replica is replaced, `ISTHMUS_SOAK` how many seconds the soak
//! lasts.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "clippy.toml's exception for tests misses helpers"
)]
#![expect(unreachable_pub, reason = "nothing in a test binary is reachable from outside")]

/// What these tests share with those of whole bridges in one process.
#[allow(dead_code, reason = "each of the test binaries uses a part")]
#[path = "../e2e/harness"]
mod harness {
    pub mod caller;
    pub mod reply;
    pub mod wait;
}

mod choice;
mod clusters;
mod endings;
mod exhaustion;
mod load;
mod losses;
mod namespace;
#[allow(dead_code, reason = "each of the test binaries uses a part")]
#[path = "../binaries/process.rs"]
mod process;
mod relay;
mod replacements;
mod replicas;
mod soak;
