//! Servers that others wrote, which log what they see.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::foreign::{Server, file, program, python, script};
use crate::harness::place::Place;
use crate::harness::wait::until;

const PORT: u16 = 8080;

/// A server, and its log: a line for each request with method, target and `Host`.
pub struct Origin {
    pub server: Server,
    folder: TempDir,
    _place: Place,
}

/// What starts a server that listens there; its folder is for whatever it needs.
type Start = fn(SocketAddr, &TempDir) -> Command;

/// All of them, by name.
pub const ALL: [(&str, Start); 7] = [
    ("nginx", |at, folder| nginx("nginx.conf", at, folder)),
    ("nginx-http2", |at, folder| nginx("nginx-http2.conf", at, folder)),
    ("haproxy", |at, folder| {
        let mut command = program("haproxy");
        command.args(["-db", "-f"]).arg(config("haproxy.cfg", at, folder));
        command
    }),
    ("apache2", |at, folder| {
        let mut command = program("apache2");
        command.args(["-D", "FOREGROUND", "-f"]).arg(config("apache2.conf", at, folder));
        command
    }),
    ("uvicorn", |at, _| {
        let mut command = program(python("uvicorn"));
        command.args(["--http=h11", "--no-access-log", "--log-level=error", "asgi:app"]);
        command.arg(format!("--host={}", at.ip())).arg(format!("--port={}", at.port()));
        command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(file(""));
        command
    }),
    ("gunicorn", |at, folder| {
        let mut command = program(python("gunicorn"));
        command.args(["--threads=4", "--log-level=error", "wsgi:app", "--no-control-socket"]);
        command.arg(format!("--bind={at}")).arg("--worker-tmp-dir").arg(folder.path());
        command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(file(""));
        command
    }),
    ("node", |at, _| {
        let mut command = script("lenient.js");
        command.args([at.ip().to_string(), at.port().to_string()]);
        command
    }),
];

impl Origin {
    pub fn start(name: &str) -> Self {
        let (_, start) = ALL.iter().find(|(found, _)| *found == name).unwrap();
        let (folder, place) = (tempfile::tempdir().unwrap(), Place::take());
        let at = place.port(PORT);
        let server = Server::program(&mut start(at, &folder), at, &folder.path().join("log"));
        Self { server, folder, _place: place }
    }

    /// The log, once it has a line with `last`.
    pub fn log_until(&self, last: &str) -> String {
        until(last, || {
            let log = std::fs::read(self.folder.path().join("log")).unwrap();
            let log: String = log.iter().map(|byte| char::from(*byte)).collect();
            log.lines().any(|line| line.contains(last)).then_some(log)
        })
    }
}

fn nginx(name: &str, at: SocketAddr, folder: &TempDir) -> Command {
    let mut command = program("nginx");
    command.arg("-p").arg(folder.path()).arg("-e").arg(folder.path().join("error.log"));
    command.arg("-c").arg(config(name, at, folder));
    command
}

/// A config with its places filled in.
fn config(name: &str, at: SocketAddr, folder: &TempDir) -> PathBuf {
    let text = std::fs::read_to_string(file(name)).unwrap();
    let text = text.replace("ADDRESS", &at.to_string());
    let path = folder.path().join(name);
    std::fs::write(&path, text.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
    path
}
