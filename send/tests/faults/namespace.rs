//! Networks that the tests make themselves.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{JoinHandle, spawn};

/// A network namespace; gone when it is dropped.
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("isthmus-{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        Self { name }
    }

    /// Lays a wire to `other`, with an address of 24 bits at each end.
    pub fn join(&self, other: &Self, here: &str, there: &str, wire: &str) {
        let (one, two) = (format!("{wire}0"), format!("{wire}1"));
        ip(&[
            "link",
            "add",
            &one,
            "netns",
            &self.name,
            "type",
            "veth",
            "peer",
            "name",
            &two,
            "netns",
            &other.name,
        ]);
        for (namespace, link, address) in [(self, &one, here), (other, &two, there)] {
            namespace.add_address(address, link);
            ip(&["-n", &namespace.name, "link", "set", link, "up"]);
        }
    }

    /// Gives `link` one address more.
    pub fn add_address(&self, address: &str, link: &str) {
        // Without duplicate address detection, so that it can be bound at once.
        ip(&["-n", &self.name, "address", "add", &format!("{address}/24"), "dev", link]);
    }

    /// Says which addresses `host` has, for processes that are started from now on, and for those
    /// that run.
    pub fn set_host(&self, host: &str, addresses: &[String]) {
        let lines: String = addresses.iter().map(|address| format!("{address} {host}\n")).collect();
        self.write("hosts", &lines);
    }

    /// Says who is to be asked for names, for processes that are started from now on. It may take its
    /// time.
    pub fn set_resolver(&self, address: &str) {
        self.write("resolv.conf", &format!("nameserver {address}\noptions timeout:30\n"));
    }

    /// What processes inside find in `/etc`.
    fn write(&self, file: &str, text: &str) {
        let folder = PathBuf::from("/etc/netns").join(&self.name);
        std::fs::create_dir_all(&folder).unwrap();
        // Written in place: a process sees the file itself and not its name.
        std::fs::write(folder.join(file), text).unwrap();
    }

    /// The same command, to be run inside.
    pub fn command(&self, inner: &Command) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs `work` on a thread that is inside, as are the threads that it starts.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let file = File::open(PathBuf::from("/run/netns").join(&self.name)).unwrap();
        spawn(move || {
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        let _ = std::fs::remove_dir_all(PathBuf::from("/etc/netns").join(&self.name));
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip is of the package iproute2");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {stderr} (these tests need root)", args.join(" "));
}
