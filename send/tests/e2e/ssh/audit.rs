//! What `ssh-audit` says of the embedded server.

use serde_json::Value;

use super::python;
use crate::harness::{Bridge, Transport};

#[test]
fn ssh_audit_finds_nothing() {
    let bridge = Bridge::new(Transport::Ssh).start();
    let server = bridge.tunnel_address();
    let mut audit = python::program("ssh-audit");
    audit.args(["--json", "--skip-rate-test", "-p", &server.port().to_string()]);
    let output = audit.arg(server.ip().to_string()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut findings = Vec::new();
    for kind in ["kex", "key", "enc", "mac"] {
        for algorithm in report[kind].as_array().unwrap() {
            for level in ["fail", "warn"] {
                for note in algorithm["notes"][level].as_array().into_iter().flatten() {
                    let name = algorithm["algorithm"].as_str().unwrap();
                    findings.push(format!("{level} {name}: {}", note.as_str().unwrap()));
                }
            }
        }
    }
    assert_eq!(report["cves"], serde_json::json!([]));
    assert_eq!(findings, [] as [String; 0], "{}", String::from_utf8_lossy(&output.stdout));
}
