//! Callers that leave in great numbers: no stream, socket, task or byte of theirs stays behind.

use std::io::Write;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tunnel_common::drain::Drain;

use crate::harness::{
    Bridge, Caller, Filler, Http2, LIMIT, Origin, Running, Transport, block, boxed, channel, full,
    run, until,
};

over_each_transport!(grpc: Grpc, {
    aborted_downloads_leave_nothing_behind
    aborted_http2_downloads_leave_nothing_behind
    aborted_uploads_leave_nothing_behind
    aborted_websockets_leave_nothing_behind
    a_caller_that_breaks_off_a_stalled_upload_is_noticed
});
over_each_transport!(ssh: Ssh, {
    aborted_downloads_leave_nothing_behind
    aborted_http2_downloads_leave_nothing_behind
    aborted_uploads_leave_nothing_behind
    aborted_websockets_leave_nothing_behind
    a_caller_that_breaks_off_a_stalled_upload_is_noticed
});

const CALLERS: usize = 32;

/// How much comes of an answer that stalls.
const BEGINNING: usize = 4096;

/// What `send` and `receive` hold, and this process, in which are both with their callers and
/// targets.
#[derive(Debug, Eq, PartialEq)]
struct Held {
    tasks: [usize; 2],
    descriptors: usize,
}

impl Held {
    fn by(bridge: &Running) -> Self {
        Self {
            tasks: [bridge.sends[0].tasks(), bridge.receives[0].tasks()],
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        }
    }

    /// Waits until no more is held than this.
    fn until_again(&self, bridge: &Running) {
        bridge.until_idle();
        let (send, mut now) = (&bridge.sends[0], Self::by(bridge));
        until(&format!("{self:?}"), || {
            now = Self::by(bridge);
            (*self == now).then_some(())
        });
        assert_eq!(send.metric("isthmus_connections "), 0);
    }
}

/// Runs `call` once for each number, some at a time.
fn each(numbers: Range<usize>, call: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(numbers.start);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                while let Some(number) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| numbers.contains(n))
                {
                    call(number);
                }
            });
        }
    });
}

/// `/flood` is sent as fast as it is read; of anything else, the beginning, and no more comes.
fn endless() -> Origin {
    Origin::http(async |request| {
        if request.uri() == "/flood" {
            return Response::new(boxed(Filler::sized(1 << 30)));
        }
        let (sender, body) = channel();
        Drain::new().spawn(async move {
            let beginning = block().slice(..BEGINNING);
            if sender.send(Frame::data(beginning)).await.is_ok() {
                sender.closed().await;
            }
        });
        Response::new(body)
    })
}

/// 10 000 callers leave before the answer, or at its head, or somewhere in its body. One of 16 is
/// flooded, since that takes unoptimised code a while.
fn aborted_downloads_leave_nothing_behind(transport: Transport) {
    let origin = endless();
    let bridge = Bridge::new(transport).route("bulk", &origin).start();
    let (address, before) = (bridge.at("bulk"), Held::by(&bridge));
    let abort = |number| {
        let mut caller = Caller::connect(address);
        caller.send_get(if number % 16 == 1 { "/flood" } else { "/" }, "");
        if number % 8 > 0 {
            assert_eq!(caller.head().status, 200);
            caller.read_exact(number % 7 * BEGINNING / 7);
        }
    };
    each(0..2000, abort);
    before.until_again(&bridge);
    let warm = resident();
    each(2000..10_000, abort);
    before.until_again(&bridge);
    let grown = resident().saturating_sub(warm);
    assert!(grown < 4096, "{grown} KiB stay of 8000 callers");
}

/// The memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn aborted_http2_downloads_leave_nothing_behind(transport: Transport) {
    let origin = endless();
    let bridge = Bridge::new(transport).route("bulk", &origin).start();
    let (address, before) = (bridge.at("bulk"), Held::by(&bridge));
    each(0..32, |_| {
        run(async {
            let mut connection = Http2::connect(address).await;
            for number in 0..32 {
                connection.0.ready().await.unwrap();
                let uri = format!("http://{address}/flood");
                let request = Request::get(uri).body(full("")).unwrap();
                let response = connection.0.send_request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                let mut body = response.into_body();
                for _ in 0..number % 3 {
                    body.frame().await.unwrap().unwrap();
                }
            }
        });
    });
    before.until_again(&bridge);
}

fn aborted_uploads_leave_nothing_behind(transport: Transport) {
    let origin = Origin::http(async |request| {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        Response::new(full("never"))
    });
    let bridge = Bridge::new(transport).route("bulk", &origin).start();
    let (address, before) = (bridge.at("bulk"), Held::by(&bridge));
    each(0..1000, |number| {
        let mut caller = Caller::connect(address);
        caller.send("POST / HTTP/1.1\r\nHost: caller\r\nContent-Length: 1073741824\r\n\r\n");
        (0..number % 5).for_each(|_| caller.send(block()));
    });
    before.until_again(&bridge);
}

/// Each second target has said nothing, the others do not stop.
fn aborted_websockets_leave_nothing_behind(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        let Some((line, _)) = socket.head() else { return };
        socket.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        match line.contains("/silent") {
            true => assert_eq!(socket.rest(), b"hello"),
            false => _ = socket.send_until_gone(&block()),
        }
    });
    let bridge = Bridge::new(transport).route("chat", &origin).start();
    let (address, before) = (bridge.at("chat"), Held::by(&bridge));
    each(0..400, |number| {
        let mut caller = Caller::connect(address);
        let path = ["/silent", "/loud"][number % 2];
        caller.send_get(path, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
        assert_eq!(caller.head().status, 101);
        match number % 2 {
            0 => caller.send("hello"),
            _ => _ = caller.read_exact(number * 100),
        }
    });
    before.until_again(&bridge);
}

/// A target that does not read leaves the caller's bytes where they are, before any sign that it
/// has left.
fn a_caller_that_breaks_off_a_stalled_upload_is_noticed(transport: Transport) {
    let (over, wait) = sync_channel::<()>(0);
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::script(move |mut socket| {
        if socket.head().is_some() {
            socket.send("HTTP/1.1 100 Continue\r\n\r\n");
            wait.lock().unwrap().recv_timeout(3 * LIMIT).unwrap();
        }
    });
    let bridge = Bridge::new(transport).route("bulk", &origin).start();
    let mut caller = TcpStream::connect(bridge.at("bulk")).unwrap();
    caller.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    caller
        .write_all(b"POST / HTTP/1.1\r\nHost: caller\r\nExpect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n")
        .unwrap();
    while caller.write_all(&block()).is_ok() {}
    assert_eq!(bridge.sends[0].in_flight(), 1);
    // It has not read the 100, so the system sends a reset.
    drop(caller);
    bridge.until_idle();
    over.send(()).unwrap();
}
