//! Scripts in Python, for the SSH libraries that there are.

use std::process::Command;

/// Made by `scripts/test`, with the packages that the tests need.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/python/bin");

/// A program of the virtual environment.
pub fn program(name: &str) -> Command {
    let path = std::path::Path::new(FOLDER).join(name);
    assert!(path.exists(), "{} is missing: `scripts/test unit` makes it", path.display());
    Command::new(path)
}

/// Runs `text` with these arguments.
pub fn script(text: &str, args: &[&str]) -> Command {
    let mut command = program("python");
    command.args(["-c", text]).args(args);
    command
}
