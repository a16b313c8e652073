//! What `ssh-audit` says of the embedded server.
//!
//! It has one objection: a key exchange without protection against quantum computers. The one with
//! it comes first, but OpenSSH has it from 9.9 on only, and the older ones of today's stable
//! distributions must get in.

use serde_json::Value;

use super::python;
use crate::harness::{Bridge, Transport};

#[test]
fn ssh_audit_objects_to_nothing_else() {
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
    let known = "warn curve25519-sha256: does not provide protection against post-quantum attacks";
    assert_eq!(findings, [known], "{}", String::from_utf8_lossy(&output.stdout));
}
