//! Logs: written to stderr by a thread of their own, so that a blocked stderr blocks nothing else.

mod lines;

use std::fmt;
use std::io::{self, IsTerminal};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::lines::Lines;
use crate::metrics::Metrics;

/// The flags about logs that both binaries take.
#[derive(clap::Args, Clone, Debug)]
pub struct LogArgs {
    /// What to log: a level (off, error, warn, info, debug, trace), and levels of single modules,
    /// as in info,tunnel_common=debug
    #[arg(
        long,
        value_name = "FILTER",
        env = "ISTHMUS_LOG",
        default_value = "info",
        value_parser = parse_filter
    )]
    pub log: Targets,
    /// How log lines are written
    #[arg(long, value_name = "FORMAT", env = "ISTHMUS_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// One JSON object per line
    Json,
    /// Text for people, in colour on a terminal unless NO_COLOR is set
    Text,
}

/// The running log.
///
/// Drop it last: that writes what still waits, for at most about a second.
#[derive(Debug)]
pub struct Telemetry(Lines);

impl Telemetry {
    /// Sends the log of the whole process to stderr. Fails when the process already has a log.
    pub fn start(args: LogArgs) -> anyhow::Result<Self> {
        let lines = Lines::start(io::stderr())?;
        let writer = lines.clone();
        let writer = move || writer.clone();
        let log = tracing_subscriber::registry().with(args.log);
        match args.log_format {
            LogFormat::Json => {
                let json = layer().json().flatten_event(true).with_current_span(false);
                log.with(json.with_writer(writer)).try_init()
            }
            LogFormat::Text => {
                let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                log.with(layer().with_ansi(colour).with_writer(writer)).try_init()
            }
        }?;
        Ok(Self(lines))
    }

    /// How many lines were lost because stderr did not take them, or not in time.
    pub fn lost_lines(&self) -> usize {
        self.0.lost()
    }

    /// Shows [`lost_lines`](Self::lost_lines) as `isthmus_log_lines_lost_total`.
    pub fn register(&self, metrics: &Metrics) {
        metrics.collect(LostLines(self.0.clone()));
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.0.finish();
    }
}

#[derive(Debug)]
struct LostLines(Lines);

impl Collector for LostLines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let lost = ConstCounter::new(self.0.lost() as u64);
        lost.encode(encoder.encode_descriptor(
            "log_lines_lost",
            "Log lines that stderr did not take, or not in time",
            None,
            lost.metric_type(),
        )?)
    }
}

/// Stricter than tracing's own parser, which takes a misspelt level for the name of a module and
/// then logs that module only.
fn parse_filter(text: &str) -> Result<Targets, String> {
    // It reports each failed request as an error; ours is to say it once, and what to do.
    let targets = Targets::new().with_target("kube_client", LevelFilter::OFF);
    text.split(',').try_fold(targets, |targets, part| {
        Ok(match part.split_once('=') {
            Some((module, level)) => targets.with_target(module.trim(), parse_level(level)?),
            None => targets.with_default(parse_level(part)?),
        })
    })
}

fn parse_level(text: &str) -> Result<LevelFilter, String> {
    match text.trim() {
        "" => Err("a level is missing".to_owned()),
        text => text.parse().map_err(|_| {
            format!("{text:?} is not a level (off, error, warn, info, debug, trace); a module's level is written module=level")
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tracing::Level;

    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        log: LogArgs,
    }

    #[test]
    fn flags_have_defaults_and_set_levels_by_module() {
        let args = Args::parse_from(["test"]).log;
        assert_eq!(
            (args.log_format, args.log.default_level()),
            (LogFormat::Text, Some(LevelFilter::INFO))
        );

        let args = Args::parse_from(["test", "--log-format=json", "--log=warn, tunnel_send=debug"]);
        assert_eq!(args.log.log_format, LogFormat::Json);
        assert!(args.log.log.would_enable("tunnel_send::forward", &Level::DEBUG));
        assert!(!args.log.log.would_enable("hyper", &Level::INFO));
    }

    #[test]
    fn a_bad_filter_is_refused_with_what_to_write() {
        for filter in ["inof", "", "info,", "tunnel_send=loud", "tunnel_send=", "a=b=c"] {
            let error = Args::try_parse_from(["test", "--log", filter]).unwrap_err().to_string();
            assert!(error.contains("--log") && error.contains("level"), "{filter:?}: {error}");
        }
    }
}
