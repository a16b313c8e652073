//! Exchanges that end before their time: each side is told, and nothing is left behind.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use crate::harness::{Bridge, LIMIT, Origin, Transport, block};

over_each_transport!({
    an_early_answer_ends_a_big_upload
    an_early_answer_outlives_an_upload_that_goes_on
    a_body_that_breaks_off_is_the_callers_fault
    a_caller_that_leaves_a_download_cancels_it
    a_caller_that_leaves_before_the_answer_cancels_the_request
    a_caller_that_leaves_an_upload_leaves_it_incomplete
    a_target_that_leaves_a_download_leaves_it_incomplete
    a_caller_of_http_1_0_learns_that_a_download_is_incomplete
    a_target_that_leaves_before_the_answer_is_an_error
    an_answer_that_breaks_off_at_once_is_still_one
});

const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: caller\r\nContent-Length: 1073741824\r\n\r\n";

/// The target closes its side and goes on reading, so that its answer is not lost to a reset.
fn an_early_answer_ends_a_big_upload(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        if socket.head().is_some() {
            socket.read_exact(100_000);
            socket.send(
                "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
            );
            socket.finish();
            socket.rest();
        }
    });
    let bridge = Bridge::new(transport).route("early", &origin).start();
    let mut caller = bridge.call("early");
    caller.send(UPLOAD);
    caller.send(&block()[..]);
    caller.send(&block()[..]);
    let reply = caller.reply();
    assert_eq!((reply.status, &*reply.text()), (413, "big"));
    bridge.until_idle();
}

/// Many clients read nothing before they have sent all: a reset would take the answer from them.
fn an_early_answer_outlives_an_upload_that_goes_on(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        if socket.head().is_some() {
            socket.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
            socket.finish();
            socket.rest();
        }
    });
    let bridge = Bridge::new(transport).route("early", &origin).start();
    let mut caller = bridge.call("early");
    let (block, count) = (block(), 200);
    let length = block.len() * count;
    caller.send(format!("POST / HTTP/1.1\r\nHost: caller\r\nContent-Length: {length}\r\n\r\n"));
    for _ in 0..count {
        caller.send(&block[..]);
    }
    let reply = caller.reply();
    assert_eq!((reply.status, reply.field("connection")), (413, Some("close")));
    bridge.until_idle();
}

fn a_body_that_breaks_off_is_the_callers_fault(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        if socket.head().is_some() {
            socket.rest();
        }
    });
    let bridge = Bridge::new(transport).route("broken", &origin).start();
    let mut caller = bridge.call("broken");
    caller.send("POST / HTTP/1.1\r\nHost: caller\r\nTransfer-Encoding: chunked\r\n\r\n");
    caller.send("5\r\nhello\r\nno chunk\r\n");
    let reply = caller.reply();
    reply.assert_error(400, "http_request_error");
    assert_eq!(reply.field("connection"), Some("close"));
    bridge.until_idle();
}

fn a_caller_that_leaves_a_download_cancels_it(transport: Transport) {
    let (gone, seen) = sync_channel(1);
    let origin = Origin::script(move |mut socket| {
        if socket.head().is_some() {
            socket.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
            gone.send(socket.send_until_gone(&block())).unwrap();
        }
    });
    let bridge = Bridge::new(transport).route("download", &origin).start();
    let mut caller = bridge.call("download");
    caller.send_get("/", "");
    assert_eq!(caller.head().status, 200);
    caller.read_exact(1 << 20);
    drop(caller);
    let error = seen.recv_timeout(2 * LIMIT).unwrap();
    assert_ne!(error, ErrorKind::WouldBlock, "it was never cancelled");
    bridge.until_idle();
}

fn a_caller_that_leaves_before_the_answer_cancels_the_request(transport: Transport) {
    let (begun, seen) = sync_channel(1);
    let (gone, left) = sync_channel(1);
    let origin = Origin::script(move |mut socket| {
        if socket.head().is_some() {
            begun.send(()).unwrap();
            gone.send(socket.rest()).unwrap();
        }
    });
    let bridge = Bridge::new(transport).route("never", &origin).start();
    let mut caller = bridge.call("never");
    caller.send_get("/", "");
    seen.recv_timeout(LIMIT).unwrap();
    drop(caller);
    assert_eq!(left.recv_timeout(LIMIT / 2).unwrap(), b"");
    bridge.until_idle();
}

fn a_caller_that_leaves_an_upload_leaves_it_incomplete(transport: Transport) {
    let (first, begun) = sync_channel(1);
    let (gone, left) = sync_channel(1);
    let origin = Origin::script(move |mut socket| {
        if socket.head().is_some() {
            assert_eq!(socket.chunk().unwrap(), b"one");
            first.send(()).unwrap();
            gone.send(socket.rest()).unwrap();
        }
    });
    let bridge = Bridge::new(transport).route("upload", &origin).start();
    let mut caller = bridge.call("upload");
    caller
        .send("POST / HTTP/1.1\r\nHost: caller\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    begun.recv_timeout(LIMIT).unwrap();
    drop(caller);
    assert_eq!(left.recv_timeout(LIMIT / 2).unwrap(), b"", "it looks complete");
    bridge.until_idle();
}

fn a_target_that_leaves_a_download_leaves_it_incomplete(transport: Transport) {
    let (leave, seen) = sync_channel::<()>(0);
    let seen = Arc::new(Mutex::new(seen));
    let origin = Origin::script(move |mut socket| {
        let Some((line, _)) = socket.head() else { return };
        socket.send(match line.contains("/chunked") {
            true => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
            false => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\none",
        });
        seen.lock().unwrap().recv_timeout(LIMIT).unwrap();
    });
    let bridge = Bridge::new(transport).route("download", &origin).start();
    for (path, body) in [("/sized", "one"), ("/chunked", "3\r\none\r\n")] {
        let mut caller = bridge.call("download");
        caller.send_get(path, "");
        assert_eq!(caller.head().status, 200);
        assert_eq!(caller.read_exact(body.len()), body.as_bytes());
        leave.send(()).unwrap();
        assert_eq!(caller.rest(), b"", "it looks complete");
    }
    bridge.until_idle();
}

/// Its answer ends with the connection, so that an ordinary end would pass for its own.
fn a_caller_of_http_1_0_learns_that_a_download_is_incomplete(transport: Transport) {
    let (leave, seen) = sync_channel::<()>(0);
    let seen = Arc::new(Mutex::new(seen));
    let origin = Origin::script(move |mut socket| {
        let Some((line, _)) = socket.head() else { return };
        socket.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
        seen.lock().unwrap().recv_timeout(LIMIT).unwrap();
        if line.contains("/whole") {
            socket.send("0\r\n\r\n");
        }
    });
    let bridge = Bridge::new(transport).route("download", &origin).start();
    for (path, end) in [("/whole", None), ("/broken", Some(ErrorKind::ConnectionReset))] {
        let mut caller = bridge.call("download");
        caller.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(caller.head().status, 200);
        assert_eq!(caller.read_exact(3), b"one");
        leave.send(()).unwrap();
        assert_eq!(caller.end(), end, "{path}");
    }
    bridge.until_idle();
}

/// Head and failure come together; the request was acted on, so that to repeat it would be wrong.
fn an_answer_that_breaks_off_at_once_is_still_one(transport: Transport) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = Origin::script(move |mut socket| {
        if socket.head().is_some() {
            count.fetch_add(1, Ordering::Relaxed);
            socket.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n");
            socket.rest();
        }
    });
    let bridge = Bridge::new(transport).route("broken", &origin).start();
    let mut caller = bridge.call("broken");
    caller.send_get("/", "");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.rest(), b"", "it looks complete");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    bridge.until_idle();
}

fn a_target_that_leaves_before_the_answer_is_an_error(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        socket.head();
    });
    let bridge = Bridge::new(transport).route("mute", &origin).start();
    bridge.get("mute", "/").assert_error(502, "connection_terminated");
    bridge.until_idle();
}
