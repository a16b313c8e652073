//! Limits, and what happens beyond them.

use std::time::Duration;

use bytes::Bytes;

use super::super::super::error::ResetCode;
use super::super::super::frame::put_credit;
use super::*;

#[test]
fn a_sender_stops_at_the_credit_and_goes_on_when_it_is_read() {
    let limits = Limits { initial_credit: 1000, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    let id = pair.open(false);
    assert_eq!(send_all(&mut pair.send, id, &[7; 5000]), 1000);
    pair.settle();
    assert_eq!(send_all(&mut pair.send, id, &[7; 5000]), 0);
    assert_eq!(read_all(&mut pair.receive, id).len(), 1000);
    pair.settle();
    assert_eq!(send_all(&mut pair.send, id, &[7; 400]), 400);
}

#[test]
fn data_beyond_the_credit_ends_the_tunnel() {
    let limits = Limits { initial_credit: 10, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    let id = pair.open(false);
    put_frame(&mut pair.send.out, Kind::Data, id, false, &[0; 11]);
    assert!(matches!(pair.step(usize::MAX), Err(TunnelError::Protocol(_))));
}

#[test]
fn a_stalled_stream_costs_others_nothing() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let (stalled, other) = (pair.open(false), pair.open(false));
    let data = vec![1; limits.initial_credit];
    pair.settle();
    let heads = pair.receive.buffered;
    for _ in 0..100 {
        send_all(&mut pair.send, stalled, &data);
        pair.settle();
    }
    assert_eq!(pair.receive.buffered - heads, limits.initial_credit);
    assert_eq!(send_all(&mut pair.send, other, b"quick"), 5);
    pair.settle();
    assert_eq!(read_all(&mut pair.receive, other), b"quick");
}

#[test]
fn the_memory_cap_resets_the_stream_that_holds_the_most() {
    let limits = Limits { memory: 1500, initial_credit: 1000, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    let (greedy, modest) = (pair.open(false), pair.open(false));
    send_all(&mut pair.send, modest, &[1; 600]);
    send_all(&mut pair.send, greedy, &[1; 1000]);
    pair.settle();
    let failure = |pair: &Pair, id| pair.send.streams[&id].failure.clone();
    assert!(matches!(failure(&pair, greedy), Some(StreamError::Reset(ResetCode::Overloaded))));
    assert!(failure(&pair, modest).is_none());
    assert_eq!(pair.receive.buffered, pair.receive.streams[&modest].inbound.len());
    assert!(pair.receive.buffered >= 600);
}

#[test]
fn streams_over_the_limit_are_refused_as_not_begun() {
    let limits = Limits { max_streams: 1, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    pair.open(true);
    assert!(try_open(&mut pair.send, &request(), true).is_pending(), "the peer said 1");
    pair.send.peer.as_mut().unwrap().max_streams = 2;
    let refused = pair.open(true);
    pair.settle();
    assert!(matches!(
        pair.send.poll_head(refused, &context()),
        Poll::Ready(Err(error)) if error.is_not_begun()
    ));
}

#[test]
fn floods_end_the_tunnel() {
    let flood = |kind, stream, payload: &[u8]| {
        let mut pair = Pair::connected(&Limits::default());
        let id = pair.open(false);
        for _ in 0..2000 {
            put_frame(&mut pair.send.out, kind, stream * id, false, payload);
        }
        pair.step(usize::MAX)
    };
    assert!(flood(Kind::Ping, 0, &[0; 8]).is_err());
    assert!(flood(Kind::Notice, 0, b"{}").is_err());
    assert!(flood(Kind::Data, 1, b"").is_err());
    assert!(flood(Kind::Unknown, 0, b"").is_err());
    assert!(flood(Kind::Data, 1, b"x").is_ok(), "small DATA is covered by credit");
}

#[test]
fn refuses_other_versions_and_other_protocols() {
    for input in [&b"\0ISTHMUS\0\x02\0\0"[..], b"GET / HTTP/1.1\r\n", b"SSH-2.0-x\r\n"] {
        let mut pair = Pair::new(&Limits::default());
        let error = pair.send.receive(Bytes::from_static(input), pair.now);
        assert!(matches!(error, Err(TunnelError::Version)), "{input:?}");
    }
}

#[test]
fn finds_a_silent_peer() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    while pair.send.deadline() < pair.now + limits.silence {
        let deadline = pair.send.deadline();
        assert!(pair.send.check(deadline).is_ok());
    }
    assert!(matches!(pair.send.check(pair.now + limits.silence), Err(TunnelError::Silent(_))));
}

#[test]
fn a_peer_without_hello_is_given_up() {
    let limits = Limits { silence: Duration::from_secs(60), ..Limits::default() };
    let mut pair = Pair::new(&limits);
    let due = pair.now + limits.handshake;
    assert!(pair.send.deadline() <= due);
    assert!(matches!(pair.send.check(due), Err(TunnelError::Silent(_))));
}

/// A head of about `len` bytes.
fn large_head(len: usize) -> EncodedHead {
    let mut head = Response::new(StatusCode::OK, ());
    head.fields.push(b"x", &vec![b'x'; len]).unwrap();
    EncodedHead::response(&head).unwrap()
}

#[test]
fn heads_and_trailers_count_as_memory() {
    let limits = Limits { memory: 100_000, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    let ids: Vec<_> = (0..4).map(|_| pair.open(true)).collect();
    pair.settle();
    for id in &ids {
        assert_eq!(pair.accept(), *id);
        assert!(
            pair.receive.poll_send_head(*id, &large_head(40_000), false, &context()).is_ready()
        );
        pair.settle();
        assert!(pair.send.buffered <= limits.memory);
    }
    let alive = |pair: &mut Pair| {
        ids.iter()
            .filter(|id| matches!(pair.send.poll_head(**id, &context()), Poll::Ready(Ok(_))))
            .count()
    };
    assert_eq!(alive(&mut pair), 2);
    assert_eq!(pair.send.buffered, 0);
    for id in ids {
        release(&mut pair.send, id);
        release(&mut pair.receive, id);
    }
    pair.settle();
    pair.assert_nothing_left(&limits);
}

#[test]
fn the_oldest_of_too_many_hints_are_left_out() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(true);
    pair.settle();
    pair.accept();
    let hint = EncodedHead::response(&Response::new(StatusCode::EARLY_HINTS, ())).unwrap();
    (0..100).for_each(|_| pair.receive.inform(id, &hint));
    assert!(pair.receive.poll_send_head(id, &answer(), true, &context()).is_ready());
    pair.settle();
    let mut heads = Vec::new();
    while let Poll::Ready(Ok(head)) = pair.send.poll_head(id, &context()) {
        heads.push(head);
    }
    assert_eq!((heads.len(), heads.last().map(|head| &head[..])), (8, Some(answer().payload())));
    release(&mut pair.receive, id);
    release(&mut pair.send, id);
    pair.settle();
    pair.assert_nothing_left(&limits);
}

#[test]
fn large_payloads_do_not_pile_up_in_the_read_buffer() {
    let mut pair = Pair::connected(&Limits::default());
    let conditions = vec!["x".repeat(100); 1000];
    pair.send.notify(&Notice { conditions: Some(conditions.clone()), ..Notice::default() });
    let id = pair.open(true);
    while !pair.send.output().is_empty() {
        pair.step(1000).unwrap();
        assert!(pair.to_receive.len() < 8, "only part of a header may wait");
    }
    assert_eq!(pair.receive.peer().unwrap().conditions, conditions);
    assert_eq!(pair.accept(), id);
}

#[test]
fn credit_fits_into_its_frame_whatever_the_limits() {
    let limits = Limits { initial_credit: usize::MAX, max_credit: usize::MAX, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    let id = pair.open(false);
    assert_eq!(pair.receive.limits.initial_credit, pair.send.streams[&id].credit);
    assert_eq!(pair.receive.limits.max_credit, u32::MAX as usize);
}

#[test]
fn impossible_credit_ends_the_tunnel() {
    let mut pair = Pair::connected(&Limits::default());
    let id = pair.open(false);
    put_credit(&mut pair.receive.out, id, u32::MAX);
    assert!(matches!(pair.step(usize::MAX), Err(TunnelError::Protocol(_))));
}
