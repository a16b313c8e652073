//! Values of flags, with their bounds.

use std::net::SocketAddr;
use std::time::Duration;

/// A year: nothing waits for longer, and clocks can add it.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A duration as people write it, such as `1m30s`; at most 365 days.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match duration <= MAX_DURATION {
        true => Ok(duration),
        false => Err("write at most 365d".to_owned()),
    }
}

/// The same, for what makes no sense at once.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("write more than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// A number from 1 to `MAX`.
pub fn at_most<const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=MAX).contains(&number) => Ok(number),
        _ => Err(format!("write a number from 1 to {MAX}")),
    }
}

/// An address to listen on.
pub fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:8081 or [::1]:8081")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_bounds() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(positive_duration("0ms").is_err() && positive_duration("1ms").is_ok());
        for text in ["", "5", "-1s", "366d", "500000000000y", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_count_has_bounds() {
        assert_eq!(at_most::<5>("5"), Ok(5));
        for text in ["0", "6", "-1", "18446744073709551616", "x", ""] {
            assert!(at_most::<5>(text).is_err(), "{text}");
        }
    }
}
