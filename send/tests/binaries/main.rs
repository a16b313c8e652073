//! The binaries as they are run: processes, signals, exit codes, and what they say.
//!
//! `ISTHMUS_BIN` names the folder that they are in; by default it is cargo's, with those that were
//! built last.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "clippy.toml's exception for tests misses helpers"
)]
#![expect(unreachable_pub, reason = "nothing in a test binary is reachable from outside")]

/// What these tests share with those of whole bridges in one process.
#[allow(dead_code, reason = "each of the two uses a part")]
#[path = "../e2e/harness"]
mod harness {
    pub mod caller;
    pub mod place;
    pub mod reply;
    pub mod wait;
}

mod admin;
mod bulk;
mod commands;
mod ends;
mod entrance;
mod healing;
mod mistakes;
mod open_files;
#[allow(dead_code, reason = "each of the test binaries uses a part")]
mod process;
mod signals;
mod slow;
mod target;
