//! Programs that others wrote.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::wait::until;

/// Where `scripts/test unit` puts what comes from package registries.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign")
}

/// A file of `send/tests/http/foreign`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/foreign").join(name)
}

/// A program of the system's, without the proxies that this environment may name.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    for variable in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(variable).env_remove(variable.to_uppercase());
    }
    command
}

/// A script, by the interpreter that its name asks for.
pub fn script(name: &str) -> Command {
    let (interpreter, installed) = match name.ends_with(".py") {
        true => (python("python"), installed().join("venv")),
        false => ("node".into(), installed().join("node_modules")),
    };
    assert!(installed.exists(), "{} is missing: scripts/test unit", installed.display());
    let mut command = program(interpreter);
    command.arg(file(name)).env("NODE_PATH", installed).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A program of the Python environment.
pub fn python(program: &str) -> PathBuf {
    installed().join("venv/bin").join(program)
}

/// What a program that should do well says on stdout.
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output.stdout
}

/// A server, which runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// A script that prints its port on 127.0.0.1 as its first line.
    pub fn script(name: &str, args: &[&str]) -> Self {
        let mut child = script(name).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("{name} said {line:?}"));
        Self { address: ([127, 0, 0, 1], port).into(), child }
    }

    /// A program that is told where to listen. What it prints goes to the end of `log`.
    pub fn program(command: &mut Command, address: SocketAddr, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = command.stdout(log).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let server = Self { address, child };
        until(&format!("{command:?}"), || std::net::TcpStream::connect(address).ok());
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Servers with workers end them when they are asked, and not when they are killed.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
