//! How many instructions one request costs each end, held against a budget.
//!
//! Unlike a time, the count is the same on a busy machine, so that a small loss is seen. Kernel and
//! TLS are not in it: the tunnel is in memory, and HTTP goes over sockets without TLS.
#![expect(clippy::expect_used, clippy::panic, reason = "what fails here ends the benchmark")]
#![expect(missing_docs, reason = "the macros of the benchmark make public items")]

mod far_end;
mod receive;
mod send;

use std::time::Duration;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use tunnel_common::tunnel::Limits;

use self::receive::ReceiveEnd;
use self::send::SendEnd;

/// Instructions for a request to `tunnel-send`. More than 5 % above fails.
const SEND_BUDGET: u64 = 26_500;

/// Instructions for a request to `tunnel-receive`. More than 5 % above fails.
const RECEIVE_BUDGET: u64 = 30_000;

/// So many that what happens once in a while (timers, buffers that are used up) evens out, and a
/// round number: a count divided by it is that of one request.
const REQUESTS: usize = 1000;

/// Requests before those that are counted: by then connections are open and tables have grown.
const WARM_UP: usize = 100;

/// The body of each answer.
const BODY: &[u8] = br#"{"title":"Blue Train","artist":"JC"}"#;

/// Keeps glibc from copying with `rep movsb`: a processor takes it for one instruction, valgrind
/// for one per byte, and a large copy would outweigh all else.
const NO_REP: &str =
    "glibc.cpu.x86_rep_movsb_threshold=0x7fffffff:glibc.cpu.x86_rep_stosb_threshold=0x7fffffff";

fn budget(per_request: u64) -> LibraryBenchmarkConfig {
    let limit = per_request * REQUESTS as u64 * 105 / 100;
    let mut callgrind = Callgrind::with_args(["--cache-sim=no"]);
    callgrind.hard_limits([(EventKind::Ir, limit)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind).env("GLIBC_TUNABLES", NO_REP);
    config
}

/// A tunnel that is left alone while requests are counted.
fn quiet() -> Limits {
    const HOUR: Duration = Duration::from_secs(3600);
    Limits { ping_interval: HOUR, silence: 2 * HOUR, ..Limits::default() }
}

#[library_benchmark(setup = SendEnd::warm, config = budget(SEND_BUDGET))]
#[bench::thousand_requests()]
fn request_to_send(end: SendEnd) -> SendEnd {
    end.requests(REQUESTS);
    end
}

#[library_benchmark(setup = ReceiveEnd::warm, config = budget(RECEIVE_BUDGET))]
#[bench::thousand_requests()]
fn request_to_receive(end: ReceiveEnd) -> ReceiveEnd {
    end.requests(REQUESTS);
    end
}

library_benchmark_group!(name = ends; benchmarks = request_to_send, request_to_receive);
main!(library_benchmark_groups = ends);
