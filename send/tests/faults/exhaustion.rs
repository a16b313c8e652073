//! Nothing left to work with: what runs goes on, and when there is something again, all does.

use std::net::TcpStream;
use std::process::Command;

use crate::clusters::{Clusters, Tunnel, mapping_address};
use crate::harness::caller::Caller;

/// Files that a process may have open: what it has, and hardly more.
const FILES: usize = 48;

#[test]
fn without_free_files_the_open_connections_go_on() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    let send = clusters.send(0, &[]);
    let _receive = clusters.receive(0, &[]);
    send.until_metric("isthmus_sessions", 1.0);
    let limit = format!("--nofile={FILES}:{FILES}");
    let id = send.process.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &id, &limit]).status().unwrap().success());
    let (mut early, many) = clusters.a.run(|| {
        let mut early = Caller::connect(mapping_address(0));
        early.send_get("/", "");
        early.reply().assert_ok("GET:");
        // The system accepts them; the process cannot.
        let many: Vec<_> =
            (0..2 * FILES).map(|_| TcpStream::connect(mapping_address(0)).unwrap()).collect();
        (early, many)
    });
    send.process.until_logged("cannot accept");
    early.send_get("/", "");
    early.reply().assert_ok("GET:");
    drop(many);
    assert_eq!(clusters.get(8050), "GET:");
}

#[test]
fn a_config_that_is_deleted_serves_on() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    let send = clusters.send(0, &[]);
    let receive = clusters.receive(0, &[]);
    let text = std::fs::read_to_string(clusters.config()).unwrap();
    std::fs::remove_file(clusters.config()).unwrap();
    for end in [&send, &receive] {
        end.until_page("the note", "/readyz", |page| page.text().contains("config.json"));
    }
    assert_eq!(clusters.get(8050), "GET:");
    std::fs::write(clusters.config(), text).unwrap();
    for end in [&send, &receive] {
        end.until_page("no note", "/readyz", |page| !page.text().contains("not up to date"));
    }
    assert_eq!(clusters.get(8050), "GET:");
}
