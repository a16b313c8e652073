//! SIGTERM and SIGINT: what has begun ends well; asked twice, a process ends at once.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::ends::Ends;
use crate::harness::caller::Caller;
use crate::harness::wait::{LIMIT, until};
use crate::process::Process;
use crate::target::target;

/// A bridge with a request that has half an answer, and the way to let the target say the rest.
struct Half {
    ends: Ends,
    send: Process,
    receive: Process,
    caller: Caller,
    /// Dropped, it lets the target go, too.
    go: SyncSender<()>,
}

fn half_answered() -> Half {
    let (go, wait) = sync_channel::<()>(0);
    let wait: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(wait));
    let ends = Ends::new(target(move |stream| {
        let mut stream = stream.get_ref();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").unwrap();
        if wait.lock().unwrap().recv_timeout(LIMIT).is_ok() {
            stream.write_all(b" last").unwrap();
        }
    }));
    let (send, receive) = ends.start();
    let mut caller = Caller::connect(ends.mapped());
    caller.send_get("/", "");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.read_exact(5), b"first");
    Half { ends, send, receive, caller, go }
}

#[test]
fn a_terminated_send_finishes_the_answer() {
    let Half { ends, send, receive, mut caller, go } = half_answered();
    send.signal("TERM");
    until("a closed port", || TcpStream::connect(ends.mapped()).is_err().then_some(()));
    assert_eq!(ends.send_admin("/readyz").unwrap().status, 503);
    go.send(()).unwrap();
    assert_eq!(caller.rest(), b" last");
    let ended = send.ended();
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.log);
    receive.signal("TERM");
    assert_eq!(receive.ended().status.code(), Some(0));
}

#[test]
fn a_terminated_receive_finishes_the_answer() {
    let Half { ends, send, receive, mut caller, go } = half_answered();
    receive.signal("TERM");
    receive.until_logged("asked to end");
    assert_eq!(ends.receive_admin("/readyz").unwrap().status, 503);
    go.send(()).unwrap();
    assert_eq!(caller.read_exact(5), b" last");
    let ended = receive.ended();
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.log);
    send.signal("INT");
    assert_eq!(send.ended().status.code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_send_at_once() {
    let Half { send, receive: _receive, caller: _caller, .. } = half_answered();
    assert_ends_at_once(send, ["TERM", "TERM"]);
}

#[test]
fn a_second_signal_ends_a_receive_at_once() {
    let Half { send: _send, receive, caller: _caller, .. } = half_answered();
    assert_ends_at_once(receive, ["INT", "TERM"]);
}

fn assert_ends_at_once(process: Process, [first, second]: [&str; 2]) {
    process.signal(first);
    process.until_logged("asked to end");
    let asked_again = Instant::now();
    process.signal(second);
    let ended = process.ended();
    assert_eq!(ended.status.code(), Some(1), "{:?}", ended.log);
    assert!(asked_again.elapsed() < Duration::from_secs(2), "{:?}", asked_again.elapsed());
    assert!(ended.log.last().unwrap().contains("ended by a second signal"), "{:?}", ended.log);
}

#[test]
fn an_idle_bridge_ends_at_once() {
    let (send, receive) = Ends::new(target(|_| {})).start();
    for process in [send, receive] {
        let begun = Instant::now();
        process.signal("TERM");
        assert!(process.ended().status.success());
        // Far below any limit of an orderly end.
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
