//! What one tunnel may use at most. Each limit is enforced by the side that states it.

use std::time::Duration;

use super::frame::MAX_DATA;
use crate::flag::positive_duration;

/// The bounds of one tunnel.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Streams that the peer may have open at a time; 4096 by default. More are refused as not
    /// begun.
    pub max_streams: u32,
    /// Bytes that a new stream may receive before its reader has taken any; two full DATA frames by
    /// default, nearly 128 KiB.
    pub initial_credit: usize,
    /// Bytes up to which a stream's credit grows while its reader keeps up; 32 MiB by default,
    /// which fills 1 Gbit/s at 200 ms. A stream that is the only one may have 4 MiB more.
    pub max_credit: usize,
    /// Bytes that all streams together may hold unread, heads and trailers included; 64 MiB by
    /// default. Beyond it, the stream that holds the most is reset. Half of it is what credits may
    /// grow by, taken together. A hostile peer can make each byte pin eight, because pieces from
    /// 8 KiB stay in the buffer of 64 KiB that they were read into.
    pub memory: usize,
    /// How often a PING is sent; 1 second by default.
    pub ping_interval: Duration,
    /// How long the peer may be silent before the tunnel is given up; 2.5 seconds by default.
    pub silence: Duration,
    /// How long the peer may take until its HELLO is complete; 5 seconds by default.
    pub handshake: Duration,
    /// How long the transport may take no byte while there are some to send; 10 seconds by default.
    pub write_stall: Duration,
}

/// How soon a lost tunnel is noticed, as flags.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct LivenessArgs {
    /// How often each end of a tunnel gives a sign of life.
    #[arg(long, value_name = "DURATION", env = "ISTHMUS_PING_INTERVAL", default_value = "1s",
          value_parser = positive_duration)]
    pub ping_interval: Duration,

    /// How long the other end may be silent before the tunnel is given up and its requests go
    /// elsewhere; at least twice the interval of its signs.
    #[arg(long, value_name = "DURATION", env = "ISTHMUS_PEER_TIMEOUT", default_value = "2500ms",
          value_parser = positive_duration)]
    pub peer_timeout: Duration,
}

/// Signs of life that come too rarely for those who wait for them.
#[derive(Debug, thiserror::Error)]
#[error(
    "--peer-timeout is {peer_timeout:?}, and must be at least twice --ping-interval, \
     {ping_interval:?}: a sign of life that is late would end the tunnel"
)]
pub struct InvalidLiveness {
    ping_interval: Duration,
    peer_timeout: Duration,
}

impl TryFrom<LivenessArgs> for Limits {
    type Error = InvalidLiveness;

    fn try_from(args: LivenessArgs) -> Result<Self, InvalidLiveness> {
        let LivenessArgs { ping_interval, peer_timeout } = args;
        match peer_timeout >= 2 * ping_interval {
            true => Ok(Self { ping_interval, silence: peer_timeout, ..Self::default() }),
            false => Err(InvalidLiveness { ping_interval, peer_timeout }),
        }
    }
}

impl Limits {
    /// The same, with what frames can say: credit is a u32.
    pub(crate) fn on_the_wire(self) -> Self {
        let cap = |credit: usize| credit.min(u32::MAX as usize);
        Self { initial_credit: cap(self.initial_credit), max_credit: cap(self.max_credit), ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_streams: 4096,
            initial_credit: 2 * MAX_DATA,
            max_credit: 32 * 1024 * 1024,
            memory: 64 * 1024 * 1024,
            ping_interval: Duration::from_secs(1),
            silence: Duration::from_millis(2500),
            handshake: Duration::from_secs(5),
            write_stall: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_longer_than_the_pause_between_signs() {
        let of = |ping: u64, silence: u64| {
            let [ping_interval, peer_timeout] = [ping, silence].map(Duration::from_millis);
            Limits::try_from(LivenessArgs { ping_interval, peer_timeout })
        };
        assert_eq!(of(500, 1000).unwrap().silence, Duration::from_secs(1));
        let error = of(500, 999).unwrap_err().to_string();
        assert!(error.starts_with("--peer-timeout is 999ms, and must be at least"), "{error}");
    }
}
