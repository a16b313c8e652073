//! How long each layer takes for what it does most.
#![expect(clippy::unwrap_used, reason = "what fails here ends the benchmark")]

mod config;
mod headers;
mod http1_head;
mod sample;
mod tunnel;
mod tunnel_head;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    http1_head::bench(&mut criterion);
    headers::bench(&mut criterion);
    tunnel_head::bench(&mut criterion);
    tunnel::bench(&mut criterion);
    config::bench(&mut criterion);
    criterion.final_summary();
}
