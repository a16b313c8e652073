//! Mistakes end the start: soon, with a status that is not 0, and a line that says what and where.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crate::ends::Ends;
use crate::process::Process;

/// It should take well under a second; this is for a machine that is busy otherwise.
const SOON: Duration = Duration::from_secs(5);

fn ends() -> Ends {
    Ends::new(SocketAddr::from(([127, 0, 0, 1], 9)))
}

/// Fails unless the process ends as it should, with one line per list, which has all these parts.
fn assert_refused(command: Command, lines: &[&[&str]]) {
    let told = format!("{command:?}");
    let ended = Process::start(command).ended();
    println!("ended after {:?}", ended.after);
    assert!(matches!(ended.status.code(), Some(1 | 2)), "{told}: {ended:?}");
    assert!(ended.after < SOON, "{told}: {ended:?}");
    assert_eq!(ended.log.len(), lines.len(), "{told}: {:#?}", ended.log);
    for (line, parts) in ended.log.iter().zip(lines) {
        assert!(parts.iter().all(|part| line.contains(part)), "{told}: {line} without {parts:?}");
    }
}

#[test]
fn broken_configs() {
    let ends = ends();
    let path = ends.config().display().to_string();
    let two = r#"{ "data": [
        { "port": "80x", "remoteIP": "http://a" },
        { "port": "8050", "remoteIP": "tcp://a:1" }
    ] }"#;
    for (config, lines) in [
        ("{ \"data\": [ ", &[&[&*path, ":1:", "JSON"][..]][..]),
        ("", &[&[&path, "JSON"]]),
        (r#"{ "data": [ { "port": 1 } ] }"#, &[&[&path, ":1: data[0]", "remoteIP"]]),
        (two, &[&[&path, ":2: data[0].port"], &[&path, ":3: data[1].remoteIP", "tcp"]]),
    ] {
        ends.write_config(config);
        assert_refused(ends.send(), lines);
        assert_refused(ends.receive(), lines);
    }
    std::fs::remove_file(ends.config()).unwrap();
    assert_refused(ends.send(), &[&[&path, "no such file"]]);
    assert_refused(ends.receive(), &[&[&path, "no such file"]]);
}

#[test]
fn unusable_keys() {
    let ends = ends();
    for (end, command) in [("send", Ends::send as fn(&Ends) -> Command), ("receive", Ends::receive)]
    {
        let key = ends.keys(end).join("tls.key");
        let path = key.display().to_string();
        for mode in [0o644, 0o604] {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_refused(command(&ends), &[&[&path, "chmod"]]);
        }
        std::fs::write(&key, "no key").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_refused(command(&ends), &[&[&path]]);
        std::fs::remove_file(&key).unwrap();
        assert_refused(command(&ends), &[&[&path]]);
        std::fs::remove_dir_all(ends.keys(end)).unwrap();
        assert_refused(command(&ends), &[&[ends.keys(end).to_str().unwrap()]]);
    }
}

#[test]
fn ports_in_use() {
    let ends = ends();
    let admin = "--admin=127.0.0.1:0";
    for address in [ends.mapped(), ends.tunnel()] {
        let _taken = TcpListener::bind(address).unwrap();
        assert_refused(ends.send_with(&[admin]), &[&[&address.to_string(), "in use"]]);
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let parts = [&*address, "in use"];
    assert_refused(ends.send_with(&[&format!("--admin={address}")]), &[&parts]);
    assert_refused(ends.receive_with(&[&format!("--admin={address}")]), &[&parts]);
    assert_refused(ends.receive_with(&[&format!("--listen={address}")]), &[&parts]);
}

#[test]
fn wrong_flags() {
    let ends = ends();
    for command in [Ends::send_with as fn(&Ends, &[&str]) -> Command, Ends::receive_with] {
        for (flag, parts) in [
            ("--prot=1", &["--prot", "--help"][..]),
            ("--tunnel=http://a:1", &["--tunnel", "http", "grpc"]),
            ("--tunnel=grpc://a", &["--tunnel", "port"]),
            ("--admin=here", &["--admin", "here"]),
            ("--drain-timeout=soon", &["--drain-timeout", "soon"]),
            ("--log=loud", &["--log", "loud"]),
            ("surplus", &["surplus"]),
        ] {
            assert_refused(command(&ends, &[flag]), &[parts]);
        }
    }
    let delay = ends.send_with(&["--drain-delay=3s", "--drain-timeout=3s"]);
    assert_refused(delay, &[&["--drain-delay", "--drain-timeout"]]);
    assert_refused(crate::process::command("tunnel-send"), &[&["--config", "--keys", "--tunnel"]]);
    assert_refused(crate::process::command("tunnel-receive"), &[&["--config", "--tunnel"]]);
}

#[test]
fn addresses_of_nobody_here() {
    let ends = ends();
    for (flag, parts) in [
        ("--tunnel=grpc://nowhere.invalid:1", &["--tunnel grpc://nowhere.invalid:1"][..]),
        ("--tunnel=grpc://192.0.2.1:1", &["192.0.2.1:1"]),
        ("--bind=192.0.2.1", &["192.0.2.1:8050"]),
    ] {
        assert_refused(ends.send_with(&[flag]), &[parts]);
    }
    assert_refused(ends.receive_with(&["--listen=192.0.2.1:1"]), &[&["--listen", "192.0.2.1:1"]]);
}
