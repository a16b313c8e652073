//! A bridge of two processes, on a loopback address of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::caller::get;
use crate::harness::place::Place;
use crate::harness::reply::Reply;
use crate::harness::wait::until;
use crate::process::{Process, command};

/// The port of the first mapping; the others follow it.
const MAPPED: u16 = 8050;
const TUNNEL: u16 = 9000;
const SEND_ADMIN: u16 = 9001;
const RECEIVE_ADMIN: u16 = 9002;

/// What two ends need: keys, a config with one mapping, and an address.
pub struct Ends {
    pub folder: TempDir,
    pub place: Place,
    transport: String,
}

impl Ends {
    /// Maps one port to `target`.
    pub fn new(target: SocketAddr) -> Self {
        Self::to(&[format!("http://{target}")])
    }

    /// Maps one port after the other to these URLs.
    pub fn to(targets: &[String]) -> Self {
        let (folder, place) = (tempfile::tempdir().unwrap(), Place::take());
        let ends = Self { folder, place, transport: "grpc".to_owned() };
        let mappings: Vec<_> = (MAPPED..)
            .zip(targets)
            .map(|(port, url)| format!(r#"{{ "port": "{port}", "remoteIP": "{url}" }}"#))
            .collect();
        ends.write_config(&format!(r#"{{ "data": [ {} ] }}"#, mappings.join(", ")));
        let (out, name) = (ends.folder.path().join("keys"), ends.place.address.to_string());
        tunnel_common::keys::generate(&out, &[name], "b").unwrap();
        ends
    }

    /// The same over another transport, by the scheme of its URL.
    #[allow(dead_code, reason = "not every test binary wants another")]
    pub fn over(self, transport: &str) -> Self {
        Self { transport: transport.to_owned(), ..self }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    pub fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    /// The keys of `send` or `receive`.
    pub fn keys(&self, end: &str) -> PathBuf {
        self.folder.path().join("keys").join(end)
    }

    pub fn send(&self) -> Command {
        self.send_with(&[])
    }

    pub fn receive(&self) -> Command {
        self.receive_with(&[])
    }

    /// The same with further flags; they take the place of those with the same name.
    pub fn send_with(&self, flags: &[&str]) -> Command {
        let bind = format!("--bind={}", self.place.address);
        self.end("send", SEND_ADMIN, &[&[&*bind], flags].concat())
    }

    pub fn receive_with(&self, flags: &[&str]) -> Command {
        self.end("receive", RECEIVE_ADMIN, flags)
    }

    fn end(&self, end: &str, admin: u16, flags: &[&str]) -> Command {
        let mut all = vec![
            format!("--config={}", self.config().display()),
            format!("--keys={}", self.keys(end).display()),
            format!("--tunnel={}://{}", self.transport, self.place.port(TUNNEL)),
            format!("--admin={}", self.place.port(admin)),
        ];
        for flag in flags {
            let name = flag.split_inclusive('=').next().unwrap_or_default();
            all.retain(|other| !other.starts_with(name));
            all.push((*flag).to_owned());
        }
        let mut command = command(&format!("tunnel-{end}"));
        command.args(all);
        command
    }

    /// Both processes, once they have a tunnel.
    pub fn start(&self) -> (Process, Process) {
        let both = (Process::start(self.send()), Process::start(self.receive()));
        self.until_sending();
        until("the tunnel", || (self.receive_admin("/readyz")?.status == 200).then_some(()));
        both
    }

    /// Waits until `tunnel-send` takes requests, with or without a tunnel.
    pub fn until_sending(&self) {
        until("tunnel-send", || (self.send_admin("/readyz")?.status == 200).then_some(()));
    }

    /// Waits until `tunnel-receive` runs, with or without a tunnel.
    pub fn until_receiving(&self) {
        until("tunnel-receive", || self.receive_admin("/livez"));
    }

    /// Waits until `tunnel-receive` has found nobody to dial.
    pub fn until_dialled_in_vain(&self) {
        until("a dial that failed", || {
            let text = self.receive_admin("/metrics")?.text();
            let failed = text.lines().find(|line| line.starts_with("isthmus_dials_failed_total "));
            (failed? != "isthmus_dials_failed_total 0").then_some(())
        });
    }

    /// Where the first mapping listens.
    pub fn mapped(&self) -> SocketAddr {
        self.mapping(0)
    }

    /// Where the mapping with this index, in the order of the URLs, listens.
    pub fn mapping(&self, index: u16) -> SocketAddr {
        self.place.port(MAPPED + index)
    }

    pub fn tunnel(&self) -> SocketAddr {
        self.place.port(TUNNEL)
    }

    pub fn send_admin(&self, path: &str) -> Option<Reply> {
        page(self.place.port(SEND_ADMIN), path)
    }

    pub fn receive_admin(&self, path: &str) -> Option<Reply> {
        page(self.place.port(RECEIVE_ADMIN), path)
    }
}

/// A page, if anybody listens.
fn page(address: SocketAddr, path: &str) -> Option<Reply> {
    std::net::TcpStream::connect(address).ok()?;
    Some(get(address, path))
}
