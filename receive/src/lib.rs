//! The `tunnel-receive` end of the bridge, as a library: the binary, the tests and the benchmarks share it.

pub mod upstream;
