//! Who waits for room or for a stream, and who comes first.

use std::task::Waker;

use super::super::super::error::ResetCode;
use super::super::output::{ROOM, ROOM_FOR_SMALL};
use super::super::turn::LOW_WATER;
use super::*;

fn opener(connection: &mut Connection, ticket: &mut Ticket, waker: &Waker) -> bool {
    connection.poll_open(ticket, &request(), true, &Context::from_waker(waker)).is_ready()
}

#[test]
fn openers_that_give_up_leave_nothing_behind() {
    let mut pair = Pair::connected(&Limits { max_streams: 1, ..Limits::default() });
    let first = pair.open(true);
    let (wakes, waker) = Wakes::task();
    for _ in 0..10 {
        let mut ticket = Ticket::default();
        assert!(!opener(&mut pair.send, &mut ticket, &waker));
        assert!(!opener(&mut pair.send, &mut ticket, &waker), "polled again");
        pair.send.leave(&mut ticket);
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&wakes), 1, "no waker is left");
    release(&mut pair.send, first);
    assert!(try_open(&mut pair.send, &request(), true).is_ready());
}

#[test]
fn a_free_stream_goes_to_who_waits_longest() {
    let mut pair = Pair::connected(&Limits { max_streams: 1, ..Limits::default() });
    let busy = pair.open(true);
    let tasks: Vec<_> = (0..3).map(|_| Wakes::task()).collect();
    let mut tickets: Vec<_> = tasks.iter().map(|_| Ticket::default()).collect();
    for ((_, waker), ticket) in tasks.iter().zip(&mut tickets) {
        assert!(!opener(&mut pair.send, ticket, waker));
    }
    let woken = |at: usize| tasks[at].0.count();
    pair.settle();
    assert_eq!([woken(0), woken(1), woken(2)], [0, 0, 0], "there is nothing to wake for");
    release(&mut pair.send, busy);
    assert_eq!([woken(0), woken(1), woken(2)], [1, 0, 0]);
    assert!(try_open(&mut pair.send, &request(), true).is_pending(), "nobody is passed by");
    assert!(!opener(&mut pair.send, &mut tickets[1], &tasks[1].1));
    pair.send.leave(&mut tickets[0]);
    assert_eq!([woken(0), woken(1), woken(2)], [1, 1, 0], "who gives up passes it on");
    assert!(opener(&mut pair.send, &mut tickets[1], &tasks[1].1));
    assert!(!opener(&mut pair.send, &mut tickets[2], &tasks[2].1));
}

/// Fills the room for heads with heads, and returns their streams.
fn fill(connection: &mut Connection) -> Vec<u32> {
    let mut ids = Vec::new();
    while let Poll::Ready(id) = try_open(connection, &request(), false) {
        ids.push(id.unwrap());
    }
    assert!(connection.out.len() >= ROOM_FOR_SMALL);
    ids
}

#[test]
fn who_waits_to_send_a_head_hears_of_a_reset() {
    let mut pair = Pair::connected(&Limits { max_streams: 100_000, ..Limits::default() });
    let id = pair.open(true);
    pair.settle();
    pair.accept();
    fill(&mut pair.receive);
    let (wakes, waker) = Wakes::task();
    let cx = Context::from_waker(&waker);
    assert!(pair.receive.poll_send_head(id, &answer(), true, &cx).is_pending());
    release(&mut pair.send, id);
    let now = pair.now;
    take(&mut pair.send, &mut pair.to_receive, usize::MAX, now);
    pair.receive.receive(pair.to_receive.split().freeze(), now).unwrap();
    assert_eq!(wakes.count(), 1);
    assert!(matches!(
        pair.receive.poll_send_head(id, &answer(), true, &cx),
        Poll::Ready(Err(StreamError::Reset(ResetCode::Cancelled)))
    ));
}

#[test]
fn who_waits_to_send_a_head_passes_by_bulk() {
    let mut pair = Pair::connected(&Limits { max_streams: 100_000, ..Limits::default() });
    let bulky: Vec<_> = (0..50).map(|_| pair.open(false)).collect();
    let small = pair.open(true);
    pair.settle();
    while pair.receive.poll_accept(&context()).is_ready() {}
    for id in &bulky {
        send_all(&mut pair.receive, *id, &[0; 20_000]);
        pair.settle();
    }
    fill(&mut pair.receive);
    for id in &bulky {
        assert_eq!(send_all(&mut pair.receive, *id, &[0; 100]), 0);
    }
    let (wakes, waker) = Wakes::task();
    let cx = Context::from_waker(&waker);
    assert!(pair.receive.poll_send_head(small, &answer(), true, &cx).is_pending());
    pair.settle();
    assert_eq!(wakes.count(), 1);
}

/// Four greedy streams run first in each turn and could take all the room.
#[test]
fn a_waiting_stream_comes_before_those_that_did_not_wait() {
    let mut pair = Pair::connected(&Limits { initial_credit: 100 << 20, ..Limits::default() });
    let greedy: Vec<_> = (0..4).map(|_| pair.open(false)).collect();
    let patient = pair.open(false);
    send_all(&mut pair.send, patient, &[0; 20_000]);
    pair.settle();
    // One quantum for each, and no more is asked for, so that they need not wait.
    let take_quantum = |pair: &mut Pair| {
        for id in &greedy {
            if let Poll::Ready(Ok(size)) = pair.send.poll_reserve(*id, 64 << 10, &context()) {
                pair.send.send_data(*id, &vec![0; size], false);
            }
        }
    };
    take_quantum(&mut pair);
    assert!(pair.send.out.len() >= ROOM);
    assert!(pair.send.poll_reserve(patient, 1000, &context()).is_pending());
    pair.step(usize::MAX).unwrap();
    take_quantum(&mut pair);
    assert!(matches!(pair.send.poll_reserve(patient, 1000, &context()), Poll::Ready(Ok(1000))));
}

#[test]
fn a_stream_that_ends_leaves_the_queue() {
    let mut pair = Pair::connected(&Limits { initial_credit: 100 << 20, ..Limits::default() });
    let ids: Vec<_> = (0..20).map(|_| pair.open(false)).collect();
    for id in &ids {
        send_all(&mut pair.send, *id, &[0; 200_000]);
    }
    assert!(!pair.send.queue.is_empty());
    ids.iter().for_each(|id| release(&mut pair.send, *id));
    assert!(pair.send.queue.is_empty());
}

#[test]
fn only_the_beginning_of_a_body_may_go_beyond_the_room() {
    let mut pair = Pair::connected(&Limits { initial_credit: 100 << 20, ..Limits::default() });
    let bulky: Vec<_> = (0..8).map(|_| pair.open(false)).collect();
    for id in bulky {
        send_all(&mut pair.send, id, &[0; 200_000]);
    }
    let late = pair.open(false);
    assert_eq!(send_all(&mut pair.send, late, &[0; 200_000]), 16 << 10);
    assert!(pair.send.out.len() > LOW_WATER);
}

#[test]
fn a_hint_that_does_not_fit_leaves_the_waiting_alone() {
    let mut pair = Pair::connected(&Limits::default());
    let id = pair.open(true);
    pair.settle();
    pair.accept();
    let (wakes, waker) = Wakes::task();
    let cx = Context::from_waker(&waker);
    assert!(pair.receive.poll_failed(id, &cx).is_pending());
    let hint = EncodedHead::response(&Response::new(StatusCode::EARLY_HINTS, ())).unwrap();
    while pair.receive.out.len() < ROOM_FOR_SMALL {
        pair.receive.inform(id, &hint);
    }
    let full = pair.receive.out.len();
    pair.receive.inform(id, &hint);
    assert_eq!(pair.receive.out.len(), full);
    release(&mut pair.send, id);
    pair.step(usize::MAX).unwrap();
    assert_eq!(wakes.count(), 1, "the end of the request is heard of");
}
