//! Processes that die without a word: the bridge heals by itself.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::ends::Ends;
use crate::harness::caller::get;
use crate::process::Process;
use crate::target::target;

const ROUNDS: usize = 50;

/// How long the first request may take once both ends run again.
const HEALED: Duration = Duration::from_secs(1);

#[test]
fn kill_and_restart_in_any_order_50_times() {
    let ends = Ends::new(target(|stream| {
        stream.get_ref().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    }));
    let (mut send, mut receive) = ends.start();
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        match round % 4 {
            0 => {
                send.kill();
                send = Process::start(ends.send());
            }
            1 => {
                receive.kill();
                receive = Process::start(ends.receive());
            }
            2 => {
                send.kill();
                receive.kill();
                send = Process::start(ends.send());
                receive = Process::start(ends.receive());
            }
            _ => {
                receive.kill();
                send.kill();
                receive = Process::start(ends.receive());
                ends.until_dialled_in_vain();
                send = Process::start(ends.send());
            }
        }
        ends.until_receiving();
        ends.until_sending();
        let begun = Instant::now();
        get(ends.mapped(), "/").assert_ok("ok");
        let took = begun.elapsed();
        assert!(took < HEALED, "round {round}: the first request took {took:?}");
        slowest = slowest.max(took);
    }
    println!("the slowest first request took {slowest:?}");
}
