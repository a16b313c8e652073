//! Small GETs at a fixed rate, whatever the answers' pace, to measure latency as callers see it: it
//! counts from the moment at which a request was due, so that a stall counts for all who would have
//! called meanwhile, too (no "coordinated omission").
//!
//! `steady-calls ADDRESS PATH CONNECTIONS RATE SECONDS` spreads RATE requests per second evenly over
//! kept connections, and prints one line of JSON: `requests`, and quantiles in microseconds.
#![allow(clippy::disallowed_methods, reason = "threads that wait for the next call's time")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, connections, rate, seconds] = arguments.as_slice() else {
        anyhow::bail!("usage: steady-calls ADDRESS PATH CONNECTIONS RATE SECONDS");
    };
    let (connections, rate): (u32, f64) = (connections.parse()?, rate.parse()?);
    let interval = Duration::from_secs_f64(f64::from(connections) / rate);
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let begin = Instant::now() + Duration::from_millis(200);
    let end = begin + Duration::from_secs_f64(seconds.parse()?);

    let mut threads = Vec::new();
    for number in 0..connections {
        let caller = Caller::new(address, head.clone())?;
        let first = begin + interval * number / connections;
        threads.push(thread::spawn(move || caller.call(first, interval, end)));
    }
    let mut latencies = Vec::new();
    for thread in threads {
        latencies.extend(thread.join().ok().context("a caller panicked")??);
    }
    latencies.sort_unstable();
    let quantile = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).map_or(0, Duration::as_micros)
    };
    writeln!(
        io::stdout(),
        r#"{{"requests": {}, "p50": {}, "p99": {}, "p999": {}}}"#,
        latencies.len(),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
    )?;
    Ok(())
}

/// One connection, one request at a time.
struct Caller {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Caller {
    fn new(address: &str, head: String) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream: BufReader::new(stream), head })
    }

    /// How long after its time each request was answered.
    fn call(
        mut self,
        first: Instant,
        interval: Duration,
        end: Instant,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        let mut due = first;
        while due < end {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.stream.get_mut().write_all(self.head.as_bytes())?;
            self.read_answer()?;
            latencies.push(due.elapsed());
            due += interval;
        }
        Ok(latencies)
    }

    /// Answers have a `Content-Length`.
    fn read_answer(&mut self) -> anyhow::Result<()> {
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            anyhow::ensure!(self.stream.read_line(&mut line)? > 0, "the connection ended");
            if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse()?;
                }
            } else if line == "\r\n" {
                break;
            }
        }
        io::copy(&mut (&mut self.stream).take(length), &mut io::sink())?;
        Ok(())
    }
}
