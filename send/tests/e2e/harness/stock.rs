//! Stock OpenSSH between the two ends: its server, its client, or both.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::wait::until;

/// A program beside the bridge, ended when dropped.
pub struct Program(Child);

impl Program {
    /// Starts it; what it says goes where the test's log does.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stock `sshd` that knows the keys of a bridge.
pub struct Sshd {
    _program: Program,
    _folder: TempDir,
}

impl Sshd {
    /// Listens on `address`, with the host key and the `authorized_keys` of `keys`, which is the
    /// folder for `tunnel-send`.
    pub fn start(address: SocketAddr, keys: &Path, more: &str) -> Self {
        // Root's sshd wants this folder, wherever the other files are; others cannot make it.
        let _ = fs::create_dir_all("/run/sshd");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sshd_config");
        let keys = keys.display();
        let config = format!(
            "ListenAddress {address}\nHostKey {keys}/ssh_host_ed25519_key\n\
             AuthorizedKeysFile {keys}/authorized_keys\nStrictModes no\nPidFile none\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
             AllowTcpForwarding remote\nGatewayPorts clientspecified\n\
             ClientAliveInterval 1\nClientAliveCountMax 3\nMaxStartups 100\n{more}\n"
        );
        fs::write(&file, config).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(&file);
        let program = Program::start(&mut command);
        until("sshd", || TcpStream::connect(address).ok());
        Self { _program: program, _folder: folder }
    }

    /// As whom a client logs in: whoever runs the test.
    pub fn user() -> String {
        let id = Command::new("id").arg("-un").output().unwrap();
        String::from_utf8(id.stdout).unwrap().trim().to_owned()
    }
}

/// What a stock client is to do: dial `server`, and have it forward to `target`.
#[derive(Clone)]
pub struct Dial {
    /// The folder for `tunnel-receive`.
    pub keys: PathBuf,
    pub server: SocketAddr,
    pub user: String,
    /// What the server is to listen on: a port, perhaps after an address.
    pub bind: String,
    /// An address or name, and a port.
    pub target: String,
}

impl Dial {
    /// OpenSSH's client, with no configuration but this.
    pub fn ssh(&self) -> Command {
        let option = |name: &str, file: &str| format!("{name}={}", self.keys.join(file).display());
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-N", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]);
        command.args(["-o", "IdentitiesOnly=yes", "-o", "ServerAliveInterval=1"]);
        command.args(["-o", &option("UserKnownHostsFile", "known_hosts")]);
        command.args(["-o", &option("IdentityFile", "id_ed25519")]);
        command.arg("-R").arg(format!("{}:{}", self.bind, self.target));
        command.arg("-p").arg(self.server.port().to_string());
        command.arg(format!("{}@{}", self.user, self.server.ip()));
        command
    }
}
