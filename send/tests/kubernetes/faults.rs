//! What an API server does on bad days.

use crate::cluster::{Cluster, config, until};
use crate::start::Send;

#[test]
fn a_restart_of_the_api_server_is_survived() {
    let mut cluster = Cluster::in_process();
    cluster.create_config(&config([8050]));
    let send = Send::start(&cluster);
    for port in 8051..8054 {
        cluster.server().stop();
        send.until_noted("cannot watch configmaps");
        assert!(send.is_open(port - 1));
        cluster.server().restart();
        send.until_quiet();
        cluster.edit_config(&config([port]));
        send.until_open(port);
    }
    assert_eq!(cluster.server().requests("list", "configmaps"), 1, "the watch goes on");
}

#[test]
fn what_changed_while_the_server_was_away_is_taken_up() {
    let mut cluster = Cluster::in_process();
    cluster.create_config(&config([8050]));
    let send = Send::start(&cluster);
    cluster.server().faults().forbidden.push(("watch", "configmaps"));
    cluster.server().restart();
    send.until_noted(r#"resource "configmaps", verb "watch""#);
    cluster.edit_config(&config([8051]));
    assert!(send.is_open(8050));
    cluster.server().faults().forbidden.clear();
    send.until_open(8051);
    send.until_quiet();
}

#[test]
fn a_forgotten_version_is_listed_anew() {
    let mut cluster = Cluster::in_process();
    cluster.create_config(&config([8050]));
    let send = Send::start(&cluster);
    send.until_open(8050);
    cluster.server().stop();
    send.until_noted("cannot watch configmaps");
    cluster.server().restart();
    cluster.server().faults().forbidden.push(("watch", "configmaps"));
    cluster.server().restart();
    send.until_noted("verb");
    cluster.edit_config(&config([8051]));
    cluster.server().compact();
    cluster.server().faults().forbidden.clear();
    send.until_open(8051);
    assert_eq!(cluster.server().requests("list", "configmaps"), 2);
}

#[test]
fn bookmarks_keep_the_version_young() {
    let mut cluster = Cluster::in_process();
    cluster.create_config(&config([8050]));
    let send = Send::start(&cluster);
    send.until_open(8050);
    // Something else changes, which the watch hears of by a bookmark only.
    cluster.create_service();
    let watches = cluster.server().requests("watch", "configmaps");
    until("a bookmark", || cluster.server().has_bookmarked("configmaps").then_some(()));
    cluster.server().compact();
    cluster.server().restart();
    until("a new watch", || {
        (cluster.server().requests("watch", "configmaps") > watches).then_some(())
    });
    cluster.edit_config(&config([8051]));
    send.until_open(8051);
    assert_eq!(cluster.server().requests("list", "configmaps"), 1);
}

#[test]
fn errors_of_the_server_are_survived() {
    let mut cluster = Cluster::in_process();
    cluster.create_config(&config([8050]));
    let send = Send::start(&cluster);
    cluster.server().faults().status = Some(500);
    cluster.server().restart();
    send.until_noted("cannot watch configmaps");
    cluster.server().faults().status = None;
    send.until_quiet();
    cluster.edit_config(&config([8051]));
    send.until_open(8051);
}

#[test]
fn events_that_are_forbidden_do_no_harm() {
    let mut cluster = Cluster::in_process();
    cluster.create_config(&config([8050]));
    cluster.server().faults().forbidden.push(("create", "events"));
    let send = Send::start(&cluster);
    for broken in ["{", "["] {
        cluster.edit_text(broken);
        send.until_noted("not up to date: config.json:1:");
    }
    cluster.edit_config(&config([8051]));
    send.until_open(8051);
    send.until_quiet();
}
