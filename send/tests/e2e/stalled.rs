//! Readers that stop reading hold up nobody and cost a bounded amount of memory.

use http::Response;
use tunnel_common::tunnel::Limits;

use crate::harness::{Bridge, Filler, Origin, Transport, boxed, until};

over_each_transport!({ stalled_readers_hold_up_nobody });

const READERS: usize = 32;

fn stalled_readers_hold_up_nobody(transport: Transport) {
    let bulk = Origin::http(async |_| Response::new(boxed(Filler::sized(1 << 30))));
    let good = Origin::saying("good");
    let bridge = Bridge::new(transport).route("bulk", &bulk).route("good", &good).start();
    let mut readers: Vec<_> = (0..READERS).map(|_| bridge.call("bulk")).collect();
    for reader in &mut readers {
        reader.send_get("/", "");
        assert_eq!(reader.head().status, 200);
    }
    let limits = Limits::default();
    let send = &bridge.sends[0];
    until("full windows", || {
        (send.buffered() >= READERS * limits.initial_credit / 4).then_some(())
    });
    let mut caller = bridge.call("good");
    for _ in 0..300 {
        caller.send_get("/", "");
        caller.reply().assert_ok("good");
        assert!(send.buffered() <= limits.memory, "{} bytes are unread", send.buffered());
    }
    // None of them was given up.
    assert_eq!(send.in_flight(), READERS);
    for reader in &mut readers {
        reader.read_exact(1 << 20);
    }
    drop(readers);
    bridge.until_idle();
}
