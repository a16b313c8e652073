//! The config is taken up while requests go on.

use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::{Bridge, LIMIT, Load, Origin, Running, Transport, until};

over_each_transport!({
    mappings_come_and_go_under_load
    a_removed_mapping_finishes_what_it_has_begun
    a_broken_config_changes_nothing
    a_port_in_use_is_told_and_tried_again
});

fn until_answered(bridge: &Running, mapping: &str, text: &str) {
    until("the new mapping", || {
        TcpStream::connect(bridge.at(mapping)).ok()?;
        let reply = bridge.get(mapping, "/");
        (reply.status == 200 && reply.text() == text).then_some(())
    });
}

fn mappings_come_and_go_under_load(transport: Transport) {
    const COUNT: usize = 100;
    let (one, two, extra) = (Origin::saying("one"), Origin::saying("two"), Origin::saying("extra"));
    let mut bridge = Bridge::new(transport).route("one", &one).route("two", &two).start();
    let load = Load::start(&[(bridge.at("one"), "one"), (bridge.at("two"), "two")]);
    let target = format!("http://{}", extra.address());
    for round in 0..2 {
        let names: Vec<_> = (0..COUNT).map(|number| format!("x{round}-{number}")).collect();
        names.iter().for_each(|name| bridge.mappings.add(name, &target, &json!({}), false));
        bridge.mappings.write();
        names.iter().for_each(|name| until_answered(&bridge, name, "extra"));
        let addresses: Vec<_> = names.iter().map(|name| bridge.at(name)).collect();
        names.iter().for_each(|name| bridge.mappings.remove(name));
        bridge.mappings.write();
        for address in addresses {
            until("a closed port", || TcpStream::connect(address).is_err().then_some(()));
        }
        load.until_answered(100);
    }
    load.finish();
}

fn a_removed_mapping_finishes_what_it_has_begun(transport: Transport) {
    let (go, wait) = sync_channel::<()>(0);
    let wait = Arc::new(Mutex::new(wait));
    let slow = Origin::script(move |mut socket| {
        if socket.head().is_some() {
            socket.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            wait.lock().unwrap().recv_timeout(LIMIT).unwrap();
            socket.send(" last");
        }
    });
    let mut bridge = Bridge::new(transport).route("slow", &slow).start();
    let (address, mut caller) = (bridge.at("slow"), bridge.call("slow"));
    caller.send_get("/", "");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.read_exact(5), b"first");
    bridge.mappings.remove("slow");
    bridge.mappings.write();
    until("a closed port", || TcpStream::connect(address).is_err().then_some(()));
    go.send(()).unwrap();
    assert_eq!(caller.rest(), b" last");
}

fn a_broken_config_changes_nothing(transport: Transport) {
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let mut bridge = Bridge::new(transport).route("old", &old).start();
    let ends = || [&bridge.sends[0], &bridge.receives[0]];
    for broken in ["{", r#"{ "data": [ { "port": "0", "remoteIP": "http://a" } ] }"#] {
        bridge.mappings.write_text(broken);
        for end in ends() {
            until("a note in /readyz", || {
                let page = end.admin("/readyz");
                assert_eq!(page.status, 200);
                let (text, place) =
                    (page.text(), if broken == "{" { ":1:" } else { "data[0].port" });
                (text.contains("not up to date: ") && text.contains(place)).then_some(())
            });
        }
        bridge.get("old", "/").assert_ok("old");
    }
    let target = format!("http://{}", new.address());
    bridge.mappings.add("new", &target, &json!({}), false);
    bridge.mappings.write();
    until_answered(&bridge, "new", "new");
    bridge.get("old", "/").assert_ok("old");
    for end in [&bridge.sends[0], &bridge.receives[0]] {
        until("a clean /readyz", || {
            (!end.admin("/readyz").text().contains("not up to date")).then_some(())
        });
        assert_eq!(end.metric("isthmus_config_refused_total"), 2);
        assert_eq!(end.metric("isthmus_config_applied_total"), 1);
    }
}

fn a_port_in_use_is_told_and_tried_again(transport: Transport) {
    let origin = Origin::saying("good");
    let mut bridge = Bridge::new(transport).route("good", &origin).start();
    let target = format!("http://{}", origin.address());
    bridge.mappings.add("taken", &target, &json!({}), false);
    bridge.mappings.add("free", &target, &json!({}), false);
    let taken = TcpListener::bind(bridge.at("taken")).unwrap();
    bridge.mappings.write();
    until_answered(&bridge, "free", "good");
    let page = until("the reason in /readyz", || {
        Some(bridge.sends[0].admin("/readyz")).filter(|page| page.text().contains("listeners"))
    });
    assert_eq!(page.status, 200, "the other mappings are served");
    let place = taken.local_addr().unwrap().to_string();
    assert!(page.text().contains(&place) && page.text().contains("taken"), "{}", page.text());
    bridge.get("good", "/").assert_ok("good");
    drop(taken);
    until_answered(&bridge, "taken", "good");
    until("a clean /readyz", || {
        (!bridge.sends[0].admin("/readyz").text().contains("listeners")).then_some(())
    });
}
