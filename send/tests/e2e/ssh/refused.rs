//! What is not a reverse forward is refused, on the very connection that carries a tunnel, and the
//! tunnel lives on.

use std::fs;
use std::process::{Command, Stdio};

use super::clients::python;
use crate::harness::{Bridge, Origin, Transport, until};

/// Carries the tunnel, tries everything else, and writes the outcome to the file `result`.
const TRY_ALL: &str = "
import asyncio, asyncssh, os, sys
host, port, key, known, to, to_port = sys.argv[1:]
async def main():
    async with asyncssh.connect(host, int(port), username='tunnel', client_keys=[key],
                                known_hosts=known, config=None, agent_path=None) as client:
        await client.forward_remote_port('', 8079, to, int(to_port))
        async def shell():
            async with client.create_process() as process:
                await process.wait(check=True)
        tries = {
            'command': lambda: client.run('true', check=True),
            'shell': shell,
            'terminal': lambda: client.run(term_type='xterm', check=True),
            'sftp': lambda: client.start_sftp_client(),
            'X11': lambda: client.create_process(x11_forwarding=True, x11_display='a:0'),
            'direct-tcpip': lambda: client.open_connection(to, int(to_port)),
            'direct-streamlocal': lambda: client.open_unix_connection('/run/x'),
            'streamlocal-forward': lambda: client.forward_remote_path('/tmp/none', '/run/x'),
            'second forward': lambda: client.forward_remote_port('', 8080, to, int(to_port)),
        }
        outcome = []
        for name, attempt in tries.items():
            try:
                await attempt()
                outcome.append(f'GRANTED {name}')
            except Exception:
                outcome.append(f'refused {name}')
        folder = os.path.dirname(key)
        with open(folder + '/new', 'w') as file:
            file.write(chr(10).join(outcome))
        os.rename(folder + '/new', folder + '/result')
        await client.wait_closed()
asyncio.run(main())
";

#[test]
fn all_but_a_reverse_forward() {
    let origin = Origin::saying("good");
    let (told, result) = std::sync::mpsc::sync_channel(1);
    let bridge = Bridge::new(Transport::SshClient)
        .client(move |dial| {
            told.send(dial.keys.join("result")).unwrap();
            python(TRY_ALL, dial)
        })
        .route("good", &origin)
        .start();
    let result = result.recv().unwrap();
    let outcome = until("the outcome", || fs::read_to_string(&result).ok());
    assert_eq!(outcome.lines().count(), 9, "{outcome}");
    assert!(outcome.lines().all(|line| line.starts_with("refused ")), "{outcome}");
    bridge.get("good", "/").assert_ok("good");
    assert_eq!(bridge.sends[0].metric("isthmus_sessions_begun_total"), 1);
}

/// Asks for everything on the channel of the tunnel itself.
const ON_THE_CHANNEL: &str = "
import os, paramiko, socket, sys, threading
from paramiko import common
host, port, key, known, to, to_port = sys.argv[1:]
outcome, answered = [], threading.Semaphore(0)
def answer(word):
    def handle(channel, message):
        outcome.append(word)
        answered.release()
    return handle
handlers = paramiko.Transport._channel_handler_table
handlers[common.MSG_CHANNEL_FAILURE] = answer('refused')
handlers[common.MSG_CHANNEL_SUCCESS] = answer('GRANTED')
transport = paramiko.Transport((host, int(port)))
transport.connect(username='tunnel', pkey=paramiko.Ed25519Key.from_private_key_file(key))
transport.request_port_forward('', 8079)
channel = transport.accept()
target = socket.create_connection((to, int(to_port)))
def pump(read, write):
    while data := read(65536):
        write(data)
for pair in [(channel.recv, target.sendall), (target.recv, channel.sendall)]:
    threading.Thread(target=pump, args=pair, daemon=True).start()
for name, details in {
    'exec': ['true'], 'shell': [], 'subsystem': ['sftp'], 'env': ['A', 'b'],
    'pty-req': ['xterm', 80, 25, 0, 0, ''], 'x11-req': [True, 'MIT-MAGIC-COOKIE-1', 'a', 0],
    'auth-agent-req@openssh.com': [], 'other@example.com': [],
}.items():
    message = paramiko.Message()
    message.add_byte(common.cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(name)
    message.add_boolean(True)
    for detail in details:
        add = {str: message.add_string, int: message.add_int, bool: message.add_boolean}
        add[type(detail)](detail)
    transport._send_user_message(message)
    if not answered.acquire(timeout=5):
        outcome.append('no answer to ' + name)
folder = os.path.dirname(key)
with open(folder + '/new', 'w') as file:
    file.write(chr(10).join(outcome))
os.rename(folder + '/new', folder + '/result')
transport.join()
";

#[test]
fn requests_on_the_tunnels_own_channel() {
    let origin = Origin::saying("good");
    let (told, result) = std::sync::mpsc::sync_channel(1);
    let bridge = Bridge::new(Transport::SshClient)
        .client(move |dial| {
            told.send(dial.keys.join("result")).unwrap();
            python(ON_THE_CHANNEL, dial)
        })
        .route("good", &origin)
        .start();
    let result = result.recv().unwrap();
    let outcome = until("the outcome", || fs::read_to_string(&result).ok());
    assert_eq!(outcome, ["refused"; 8].join("\n"));
    bridge.get("good", "/").assert_ok("good");
}

/// `ssh` with a control socket carries the tunnel, and others ask through it.
#[test]
fn openssh_asks_for_more_through_its_control_socket() {
    let origin = Origin::saying("good");
    let (told, control) = std::sync::mpsc::sync_channel(1);
    let bridge = Bridge::new(Transport::SshClient)
        .client(move |dial| {
            let path = dial.keys.join("control");
            told.send(path.clone()).unwrap();
            let mut ssh = dial.ssh();
            ssh.arg("-M").arg("-S").arg(path);
            ssh
        })
        .route("good", &origin)
        .start();
    let control = control.recv().unwrap();
    let ask = |args: &[&str]| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-S"]).arg(&control).args(args).stdin(Stdio::null());
        ssh.output().unwrap().status.success()
    };
    for args in [
        &["any", "true"][..],
        &["-A", "-X", "any", "true"],
        &["any"],
        &["-tt", "any"],
        &["-s", "any", "sftp"],
        &["-W", "127.0.0.1:1", "any"],
        &["-O", "forward", "-R", "8080:127.0.0.1:1", "any"],
    ] {
        assert!(!ask(args), "{args:?} was granted");
        bridge.get("good", "/").assert_ok("good");
    }
}

#[test]
fn cancelling_the_forward_ends_the_tunnel() {
    let origin = Origin::saying("good");
    let bridge = Bridge::new(Transport::SshClient)
        .client(|dial| {
            python(
                "
import asyncio, asyncssh, os, sys
host, port, key, known, to, to_port = sys.argv[1:]
async def main():
    async with asyncssh.connect(host, int(port), username='tunnel', client_keys=[key],
                                known_hosts=known, config=None, agent_path=None) as client:
        while True:
            forward = await client.forward_remote_port('', 8079, to, int(to_port))
            while not os.path.exists(key + '.cancel'):
                await asyncio.sleep(0.05)
            os.remove(key + '.cancel')
            forward.close()
            await forward.wait_closed()
asyncio.run(main())
",
                dial,
            )
        })
        .route("good", &origin)
        .start();
    let keys = bridge.keys().join("receive/id_ed25519.cancel");
    bridge.get("good", "/").assert_ok("good");
    fs::write(keys, "").unwrap();
    until("the end of the tunnel", || (bridge.sends[0].tunnels() == 0).then_some(()));
    // The same connection may ask again.
    bridge.until_up();
    bridge.get("good", "/").assert_ok("good");
}
