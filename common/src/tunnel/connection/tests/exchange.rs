//! Requests, answers and their ends.

use super::super::super::error::ResetCode;
use super::super::super::frame::{HEADER_LEN, MAX_HEAD, put_credit, put_reset};
use super::*;

#[test]
fn a_request_and_its_answer_leave_nothing_behind() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(true);
    pair.settle();
    assert_eq!(pair.accept(), id);
    assert!(pair.receive.poll_head(id, &context()).is_ready());
    assert!(pair.receive.poll_send_head(id, &answer(), false, &context()).is_ready());
    assert_eq!(send_all(&mut pair.receive, id, b"body"), 4);
    pair.receive.send_end(id);
    pair.settle();
    assert!(pair.send.poll_head(id, &context()).is_ready());
    assert_eq!(read_all(&mut pair.send, id), b"body");
    assert!(pair.send.is_finished(id));
    release(&mut pair.receive, id);
    release(&mut pair.send, id);
    pair.settle();
    pair.assert_nothing_left(&limits);
}

#[test]
fn nothing_is_opened_before_hello() {
    let mut pair = Pair::new(&Limits::default());
    assert!(try_open(&mut pair.send, &request(), true).is_pending());
    pair.settle();
    assert!(try_open(&mut pair.send, &request(), true).is_ready());
}

#[test]
fn an_early_answer_stops_the_upload() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(false);
    send_all(&mut pair.send, id, &[0; 1000]);
    pair.settle();
    pair.accept();
    assert!(pair.receive.poll_send_head(id, &answer(), false, &context()).is_ready());
    send_all(&mut pair.receive, id, b"no, thanks");
    pair.receive.send_end(id);
    release(&mut pair.receive, id);
    pair.settle();
    assert!(pair.send.poll_failed(id, &context()).is_ready(), "the uploader is told");
    assert!(pair.send.poll_head(id, &context()).is_ready());
    assert_eq!(read_all(&mut pair.send, id), b"no, thanks");
    release(&mut pair.send, id);
    pair.assert_nothing_left(&limits);
}

#[test]
fn a_caller_that_leaves_cancels_the_stream() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(true);
    pair.settle();
    pair.accept();
    release(&mut pair.send, id);
    pair.settle();
    assert!(matches!(
        pair.receive.poll_failed(id, &context()),
        Poll::Ready(StreamError::Reset(ResetCode::Cancelled))
    ));
    release(&mut pair.receive, id);
    pair.settle();
    pair.assert_nothing_left(&limits);
}

#[test]
fn a_lost_tunnel_tells_which_requests_never_left() {
    let mut pair = Pair::connected(&Limits::default());
    let sent = pair.open(true);
    pair.settle();
    let unsent = pair.open(true);
    pair.send.fail(TunnelError::HungUp);
    let begun = |pair: &mut Pair, id| match pair.send.poll_head(id, &context()) {
        Poll::Ready(Err(error)) => !error.is_not_begun(),
        other => panic!("{other:?}"),
    };
    assert!(begun(&mut pair, sent));
    assert!(!begun(&mut pair, unsent));
}

#[test]
fn a_drain_serves_what_comes_before_the_peer_knows() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    pair.receive.drain();
    let early = pair.open(true);
    pair.settle();
    assert_eq!(pair.accept(), early, "a stream that crossed the notice is served");
    assert!(!pair.receive.is_drained());
    assert!(matches!(
        try_open(&mut pair.send, &request(), true),
        Poll::Ready(Err(TunnelError::Closed))
    ));
    assert!(pair.receive.poll_send_head(early, &answer(), true, &context()).is_ready());
    release(&mut pair.receive, early);
    assert!(!pair.receive.is_drained(), "the answer is still on its way");
    pair.settle();
    assert!(pair.receive.is_drained());
}

#[test]
fn skips_frames_of_later_versions() {
    let mut pair = Pair::connected(&Limits::default());
    put_frame(&mut pair.send.out, Kind::Unknown, 5, true, b"whatever it is");
    let id = pair.open(true);
    pair.settle();
    assert_eq!(pair.accept(), id);
}

#[test]
fn the_largest_head_fits_into_a_frame() {
    const { assert!(MAX_HEAD < 1 << 24 && HEADER_LEN == 8) };
    let mut head = RequestHead::get(Uri::from_static("/"));
    head.fields.push(b"x", &[b'a'; MAX_HEAD - 20]).unwrap();
    let head = EncodedHead::request(&head).unwrap();
    let mut pair = Pair::connected(&Limits::default());
    assert!(try_open(&mut pair.send, &head, true).is_ready());
    pair.settle();
    let id = pair.accept();
    assert!(matches!(pair.receive.poll_head(id, &context()), Poll::Ready(Ok(_))));
}

#[test]
fn a_head_that_left_in_part_is_not_begun() {
    let mut pair = Pair::connected(&Limits::default());
    let id = pair.open(true);
    pair.step(HEADER_LEN + 1).unwrap();
    pair.send.fail(TunnelError::HungUp);
    assert!(matches!(
        pair.send.poll_head(id, &context()),
        Poll::Ready(Err(error)) if error.is_not_begun()
    ));
}

#[test]
fn a_complete_answer_outlives_its_stream_and_its_tunnel() {
    let limits = Limits::default();
    for lost in [false, true] {
        let mut pair = Pair::connected(&limits);
        let id = pair.open(false);
        pair.settle();
        pair.accept();
        assert!(pair.receive.poll_send_head(id, &answer(), false, &context()).is_ready());
        send_all(&mut pair.receive, id, b"whole");
        let trailers = EncodedHead::trailers(&Fields::new()).unwrap();
        assert!(pair.receive.poll_send_trailers(id, &trailers, &context()).is_ready());
        pair.receive.reset(id, ResetCode::Cancelled);
        pair.settle();
        if lost {
            pair.send.fail(TunnelError::HungUp);
        }
        assert!(pair.send.poll_failed(id, &context()).is_ready());
        assert!(matches!(pair.send.poll_head(id, &context()), Poll::Ready(Ok(_))));
        assert_eq!(read_all(&mut pair.send, id), b"whole");
        assert!(pair.send.take_trailers(id).is_some());
        assert!(pair.send.is_finished(id));
        release(&mut pair.send, id);
        release(&mut pair.receive, id);
        pair.assert_nothing_left(&limits);
    }
}

#[test]
fn what_came_of_an_answer_before_a_reset_is_read() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(true);
    pair.settle();
    pair.accept();
    assert!(pair.receive.poll_send_head(id, &answer(), false, &context()).is_ready());
    send_all(&mut pair.receive, id, b"half");
    pair.receive.reset(id, ResetCode::Failed);
    pair.settle();
    assert!(matches!(pair.send.poll_head(id, &context()), Poll::Ready(Ok(_))));
    assert!(
        matches!(pair.send.poll_data(id, &context()), Poll::Ready(Some(Ok(data))) if data == "half")
    );
    assert!(matches!(
        pair.send.poll_data(id, &context()),
        Poll::Ready(Some(Err(StreamError::Reset(ResetCode::Failed))))
    ));
    release(&mut pair.send, id);
    release(&mut pair.receive, id);
    pair.assert_nothing_left(&limits);
}

#[test]
fn a_request_that_was_given_up_is_not_begun_with() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(false);
    send_all(&mut pair.send, id, b"half");
    pair.send.reset(id, ResetCode::Cancelled);
    pair.settle();
    assert_eq!(pair.receive.buffered, 0);
    assert!(pair.receive.poll_accept(&context()).is_pending());
}

#[test]
fn nothing_follows_end() {
    let mut pair = Pair::connected(&Limits::default());
    let id = pair.open(true);
    pair.send.send_data(id, b"late", false);
    assert!(pair.send.poll_send_head(id, &answer(), false, &context()).is_ready());
    pair.settle();
    assert_eq!(pair.accept(), id);
    assert!(pair.receive.poll_head(id, &context()).is_ready());
    assert!(pair.receive.is_finished(id));
}

#[test]
fn frames_for_unknown_streams_are_ignored() {
    let mut pair = Pair::connected(&Limits::default());
    for id in [1, 2, 77, u32::MAX] {
        put_credit(&mut pair.receive.out, id, 5);
        put_reset(&mut pair.receive.out, id, ResetCode::Failed);
        put_frame(&mut pair.receive.out, Kind::Data, id, true, b"data");
        put_frame(&mut pair.receive.out, Kind::Trailers, id, true, b"trailers");
    }
    put_frame(&mut pair.receive.out, Kind::Head, 77, true, b"an answer");
    pair.settle();
    assert_eq!((pair.send.in_flight(), pair.send.buffered), (0, 0));
}

#[test]
fn ids_begin_again_and_pass_by_those_in_use() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    assert_eq!(pair.open(false), 1);
    pair.send.next_stream = u32::MAX;
    assert_eq!((pair.open(false), pair.open(false)), (u32::MAX, 3));
    pair.receive.next_stream = u32::MAX - 1;
    assert!(
        matches!(try_open(&mut pair.receive, &request(), true), Poll::Ready(Ok(id)) if id == u32::MAX - 1)
    );
    assert!(matches!(try_open(&mut pair.receive, &request(), true), Poll::Ready(Ok(2))));
}

#[test]
fn an_id_that_comes_round_too_early_is_refused_as_not_begun() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    for end in [true, false] {
        pair.send.next_stream = 1;
        let id = pair.open(end);
        pair.settle();
        assert_eq!(pair.accept(), id);
        if end {
            assert!(pair.receive.poll_send_head(id, &answer(), true, &context()).is_ready());
        }
        pair.settle();
        release(&mut pair.send, id);
        pair.settle();
        pair.send.next_stream = id;
        assert_eq!(pair.open(false), id);
        send_all(&mut pair.send, id, b"body");
        pair.settle();
        assert!(matches!(
            pair.send.poll_head(id, &context()),
            Poll::Ready(Err(error)) if error.is_not_begun()
        ));
        release(&mut pair.receive, id);
        release(&mut pair.send, id);
        pair.settle();
        pair.assert_nothing_left(&limits);
    }
}

#[test]
fn a_goodbye_says_why_in_one_short_line() {
    let reason = |reason: &str| {
        let mut pair = Pair::connected(&Limits::default());
        pair.receive.close(reason);
        pair.step(usize::MAX).unwrap_err().to_string()
    };
    assert_eq!(reason("two\nlines"), "closed by the peer: two lines");
    assert_eq!(reason(""), "closed by the peer: ");
    assert_eq!(
        reason(&"\u{e9}".repeat(1000)),
        format!("closed by the peer: {}", "\u{e9}".repeat(100))
    );
}

#[test]
fn nothing_follows_the_goodbye() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(false);
    pair.send.close("enough");
    let left = pair.send.out.len();
    assert_eq!(send_all(&mut pair.send, id, b"more"), 0);
    assert!(pair.send.poll_send_trailers(id, &request(), &context()).is_pending());
    assert!(try_open(&mut pair.send, &request(), true).is_ready());
    assert!(!pair.send.next_turn());
    assert_eq!(pair.send.out.len(), left);
}

#[test]
fn a_goodbye_does_not_wait_for_ever() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    pair.send.close("enough");
    let mut now = pair.now;
    while now < pair.now + limits.write_stall {
        // The peer is alive, and takes a byte now and then.
        pair.send.liveness.heard(now);
        pair.send.liveness.wrote(true, now);
        now = pair.send.deadline();
        if let Err(end) = pair.send.check(now) {
            assert!(matches!(end, TunnelError::Closed), "{end}");
            return;
        }
    }
    panic!("still waiting");
}

#[test]
fn a_drain_before_the_first_stream_invites_none() {
    let now = Instant::now();
    let standby = Hello { draining: true, ..Hello::default() };
    let receive = Connection::new(Side::Receive, Limits::default(), standby, now);
    let mut pair = Pair { receive, ..Pair::new(&Limits::default()) };
    pair.receive.drain();
    pair.settle();
    pair.receive.join();
    pair.settle();
    assert!(!pair.send.is_open());
    assert!(pair.receive.is_drained());
}
