//! Connections that switch protocols are bytes both ways, until each side has said its last.

use std::sync::mpsc::sync_channel;

use crate::harness::{Bridge, Caller, LIMIT, Origin, Running, Socket, Transport, block};

over_each_transport!({
    bytes_cross_both_ways_until_both_sides_end
    a_megabyte_is_echoed_unchanged
    the_target_may_end_first
    a_caller_that_leaves_ends_the_targets_side
    the_target_may_decline
});

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/// A target that switches to `echo` and runs `speak` then.
fn switching(speak: impl Fn(&mut Socket) + Clone + Send + 'static) -> Origin {
    Origin::script(move |mut socket| {
        let Some((_, fields)) = socket.head() else { return };
        for field in [("upgrade", "echo"), ("connection", "upgrade")] {
            let (name, value) = field;
            assert!(fields.contains(&(name.to_owned(), value.to_owned())), "{fields:?}");
        }
        socket.send(SWITCH);
        speak(&mut socket);
    })
}

fn switched(bridge: &Running) -> Caller {
    let mut caller = bridge.call("echo");
    caller.send_get("/chat", "Connection: Upgrade\r\nUpgrade: echo\r\n");
    let head = caller.head();
    assert_eq!((head.status, head.field("upgrade")), (101, Some("echo")));
    caller
}

fn bytes_cross_both_ways_until_both_sides_end(transport: Transport) {
    let origin = switching(|socket| {
        socket.send("first");
        assert_eq!(socket.read_exact(4), b"ping");
        socket.send("pong");
        assert_eq!(socket.rest(), b"last");
        socket.send("bye");
    });
    let bridge = Bridge::new(transport).route("echo", &origin).start();
    let mut caller = switched(&bridge);
    assert_eq!(caller.read_exact(5), b"first");
    caller.send("ping");
    assert_eq!(caller.read_exact(4), b"pong");
    caller.send("last");
    caller.finish();
    assert_eq!(caller.rest(), b"bye");
}

fn a_megabyte_is_echoed_unchanged(transport: Transport) {
    let origin = switching(|socket| {
        for _ in 0..16 {
            let block = socket.read_exact(64 * 1024);
            socket.send(block);
        }
    });
    let bridge = Bridge::new(transport).route("echo", &origin).start();
    let mut caller = switched(&bridge);
    for number in 0..16 {
        let mut block = block().to_vec();
        block[number] = b'y';
        caller.send(&block);
        assert!(caller.read_exact(block.len()) == block, "{number}");
    }
    assert_eq!(caller.rest(), b"");
}

fn the_target_may_end_first(transport: Transport) {
    let origin = switching(|socket| {
        socket.send("that is all");
        socket.finish();
        assert_eq!(socket.rest(), b"thank you");
    });
    let bridge = Bridge::new(transport).route("echo", &origin).start();
    let mut caller = switched(&bridge);
    assert_eq!(caller.rest(), b"that is all");
    caller.send("thank you");
}

fn a_caller_that_leaves_ends_the_targets_side(transport: Transport) {
    let (gone, seen) = sync_channel(1);
    let origin = switching(move |socket| gone.send(socket.send_until_gone(&block())).unwrap());
    let bridge = Bridge::new(transport).route("echo", &origin).start();
    let mut caller = switched(&bridge);
    caller.read_exact(100_000);
    drop(caller);
    assert_ne!(seen.recv_timeout(LIMIT / 2).unwrap(), std::io::ErrorKind::WouldBlock);
    bridge.until_idle();
}

fn the_target_may_decline(transport: Transport) {
    let origin = Origin::saying("no");
    let bridge = Bridge::new(transport).route("plain", &origin).start();
    let mut caller = bridge.call("plain");
    for _ in 0..2 {
        caller.send_get("/", "Connection: Upgrade\r\nUpgrade: echo\r\n");
        caller.reply().assert_ok("no");
    }
}

/// RFC 9110 §15.5.22.
#[test]
fn a_target_that_requires_another_protocol_says_which() {
    let origin = Origin::script(|mut socket| {
        socket.head();
        socket.send(
            "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: echo\r\n\
             Content-Length: 0\r\n\r\n",
        );
    });
    let bridge = Bridge::new(Transport::Memory).route("picky", &origin).start();
    let mut caller = bridge.call("picky");
    caller.send_get("/", "");
    let reply = caller.reply();
    assert_eq!((reply.status, reply.field("upgrade")), (426, Some("echo")));
    assert_eq!(reply.field("connection"), Some("upgrade"));
}
