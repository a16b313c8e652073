//! `tunnel-send` in a Kubernetes cluster: each scenario runs against a small API server in this
//! process, and against the one that the kubeconfig `ISTHMUS_KUBECONFIG` names, if it is set.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "clippy.toml's exception for tests misses helpers"
)]
#![expect(unreachable_pub, reason = "nothing in a test binary is reachable from outside")]

/// What these tests share with those of whole bridges in one process.
#[allow(dead_code, unused_imports, reason = "each test binary uses a part")]
#[path = "../e2e/harness/mod.rs"]
mod harness;

/// One test for each scenario and server.
macro_rules! on_each_server {
    ({ $($scenario:ident)* }) => {
        mod in_process {
            $(#[test]
            fn $scenario() {
                super::$scenario(&mut $crate::cluster::Cluster::in_process());
            })*
        }
        mod real {
            $(#[test]
            fn $scenario() {
                if let Some(mut cluster) = $crate::cluster::Cluster::real() {
                    super::$scenario(&mut cluster);
                }
            })*
        }
    };
}

mod cluster;
mod config_map;
mod faults;
mod hosts;
mod server;
mod services;
mod siblings;
mod start;
