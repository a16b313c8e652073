//! The commands beside serving: `check` and `keys`.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::process::command;

const GOOD: &str = r#"{ "data": [ { "port": "8050", "remoteIP": "http://a" } ] }"#;
const BAD: &str = r#"{ "data": [
    { "port": "0", "remoteIP": "http://a" },
    { "port": "8050", "remoteIp": "gopher://a" }
] }"#;

fn run(binary: &str, args: &[&str]) -> Output {
    command(binary).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[test]
fn check_tells_good_from_bad() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let path = file.to_str().unwrap();
    for binary in ["tunnel-send", "tunnel-receive"] {
        std::fs::write(&file, GOOD).unwrap();
        let good = run(binary, &["check", path]);
        assert!(good.status.success() && good.stderr.is_empty(), "{good:?}");
        assert_eq!(text(&good.stdout), format!("{path}: 1 mappings, all valid\n"));

        std::fs::write(&file, BAD).unwrap();
        let bad = run(binary, &["check", path]);
        assert_eq!(bad.status.code(), Some(1), "{bad:?}");
        let lines: Vec<_> = text(&bad.stderr).lines().collect();
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].contains(&format!("{path}:2: data[0].port: ")), "{lines:#?}");
        assert!(lines[1].contains(&format!("{path}:3: data[1].remoteIp: ")), "{lines:#?}");

        let missing = run(binary, &["check", "/nowhere/config.json"]);
        assert_eq!(missing.status.code(), Some(1));
        assert!(text(&missing.stderr).contains("/nowhere/config.json"), "{missing:?}");
    }
}

#[test]
fn keys_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("keys");
    let args = ["keys", "--out", out.to_str().unwrap(), "--name", "localhost"];
    let first = run("tunnel-send", &args);
    assert!(first.status.success(), "{first:?}");
    let key = out.join("send/tls.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&key).unwrap();

    let second = run("tunnel-send", &args);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert_eq!(text(&second.stderr).lines().count(), 1, "{second:?}");
    assert!(text(&second.stderr).contains(out.to_str().unwrap()), "{second:?}");
    assert_eq!(std::fs::read(&key).unwrap(), before);
}

#[test]
fn help_and_version_go_to_stdout() {
    for binary in ["tunnel-send", "tunnel-receive"] {
        for (flag, part) in [("--help", "--tunnel"), ("--version", binary)] {
            let said = run(binary, &[flag]);
            assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
            assert!(text(&said.stdout).contains(part), "{said:?}");
        }
    }
}
