//! A process of ours.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use crate::harness::wait::until;

/// Runs until it ends or is dropped, which kills it.
pub struct Process {
    child: Child,
    started_at: Instant,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// The lines of its stderr.
    pub log: Vec<String>,
    /// How long it ran.
    pub after: Duration,
}

/// Whether these are the binaries of a release, and not unoptimised ones.
pub fn is_release() -> bool {
    std::env::var_os("ISTHMUS_BIN").is_some()
}

/// A command line of `tunnel-send` or `tunnel-receive`, without what this environment says.
pub fn command(binary: &str) -> Command {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_tunnel-send"));
    let folder = match std::env::var_os("ISTHMUS_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => built.parent().expect("a binary is in a folder").to_owned(),
    };
    let path = folder.join(binary);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins", path.display());
    let mut command = Command::new(path);
    std::env::vars_os()
        .filter(|(name, _)| name.to_string_lossy().starts_with("ISTHMUS_"))
        .for_each(|(name, _)| _ = command.env_remove(name));
    command
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let started_at = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (Arc::clone(&log), BufReader::new(child.stderr.take().unwrap()));
        let reader = spawn(move || {
            for line in stderr.lines() {
                // Shown by the test runner if the test fails.
                let line = line.unwrap();
                eprintln!("{line}");
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, started_at, log, reader: Some(reader) }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    pub fn until_logged(&self, text: &str) {
        until(text, || {
            self.log.lock().unwrap().iter().any(|line| line.contains(text)).then_some(())
        });
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        let status = until("the end of a process", || self.child.try_wait().unwrap());
        let after = self.started_at.elapsed();
        self.reader.take().unwrap().join().unwrap();
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        Ended { status, log, after }
    }

    /// How many files and sockets it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The most memory that it has held so far, in MiB.
    pub fn peak_memory(&self) -> usize {
        self.status("VmHWM:")
    }

    /// The memory that it holds, in MiB.
    pub fn memory(&self) -> usize {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
