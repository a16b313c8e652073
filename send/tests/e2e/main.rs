//! Whole bridges: every scenario over every transport, in one process.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml's exception for tests misses helpers"
)]
#![expect(unreachable_pub, reason = "nothing in a test binary is reachable from outside")]

#[allow(unused_imports, reason = "the tests of Kubernetes use the rest")]
mod harness;

/// Makes a test of each scenario over each transport. A new transport is one line.
macro_rules! over_each_transport {
    ($scenarios:tt) => {
        over_each_transport!(grpc: Grpc, $scenarios);
        over_each_transport!(memory: Memory, $scenarios);
        over_each_transport!(ssh: Ssh, $scenarios);
        over_each_transport!(ssh_client: SshClient, $scenarios);
        over_each_transport!(ssh_server: SshServer, $scenarios);
        over_each_transport!(ssh_both: SshBoth, $scenarios);
    };
    ($module:ident: $transport:ident, { $($scenario:ident)* }) => {
        mod $module {
            $(
                #[test]
                fn $scenario() {
                    super::$scenario(crate::harness::Transport::$transport);
                }
            )*
        }
    };
}

mod aborted;
mod broken_off;
mod callers;
mod failures;
mod heads;
mod http2;
mod limits;
mod messages;
mod not_carried;
mod reload;
mod routing;
mod ssh;
mod stalled;
mod tunnels;
mod upgrade;
