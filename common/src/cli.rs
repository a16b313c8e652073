//! What the command lines of both binaries share.

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::builder::Resettable;
use clap::{Parser, Subcommand};
use tokio::runtime::LocalRuntime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::flag::{address, duration};
use crate::kubernetes::ConfigMapKey;
use crate::telemetry::LogArgs;
use crate::tunnel::LivenessArgs;

/// The flags that both binaries have.
#[derive(Clone, Debug, clap::Args)]
pub struct BaseArgs {
    /// Where the mappings are.
    #[command(flatten)]
    pub source: SourceArgs,

    /// The kubeconfig of the cluster that has the ConfigMap, as kubectl takes it; without one, a
    /// pod's service account is used.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<OsString>,

    /// Where `/livez`, `/readyz` and `/metrics` are served; nowhere unless given.
    #[arg(long, value_name = "ADDRESS:PORT", env = "ISTHMUS_ADMIN", value_parser = address)]
    pub admin: Option<SocketAddr>,

    /// How long requests in flight may take to finish after SIGTERM or SIGINT; a second signal
    /// ends at once.
    #[arg(long, value_name = "DURATION", env = "ISTHMUS_DRAIN_TIMEOUT", default_value = "30s",
          value_parser = duration)]
    pub drain_timeout: Duration,

    /// What to log, and how.
    #[command(flatten)]
    pub log: LogArgs,

    /// How soon a lost tunnel is noticed.
    #[command(flatten)]
    pub liveness: LivenessArgs,
}

/// Where the mappings are: the `config.json` that both ends share. Changes are taken up while it
/// runs.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct SourceArgs {
    /// The mappings: the `config.json` that both ends share. Changes are taken up while it runs.
    #[arg(long, value_name = "FILE", env = "ISTHMUS_CONFIG")]
    pub config: Option<PathBuf>,

    /// The mappings in a ConfigMap, which is watched; its key is config.json unless given.
    #[arg(long, value_name = "NAMESPACE/NAME[:KEY]", env = "ISTHMUS_CONFIG_MAP")]
    pub config_map: Option<ConfigMapKey>,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation<C, S> {
    /// One of the commands `C`.
    Command(C),
    /// To serve, with the flags `S`.
    Serve(S),
}

/// Reads the command line: flags, or a command in their place. A mistake ends the process with
/// status 2 and one line that says what and what to do.
pub fn parse<C: Subcommand, S: Parser>() -> Invocation<C, S> {
    parse_from(std::env::args_os()).unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        complain(&without_users(&one_line(&error.render().to_string())));
        std::process::exit(2);
    })
}

fn parse_from<C: Subcommand, S: Parser>(
    args: impl IntoIterator<Item = OsString>,
) -> Result<Invocation<C, S>, clap::Error> {
    let serve = S::command();
    // The commands would describe themselves in its place.
    let about = Resettable::from(serve.get_about().cloned());
    let long_about = Resettable::from(serve.get_long_about().cloned());
    let command = C::augment_subcommands(serve)
        .about(about)
        .long_about(long_about)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true);
    let matches = command.try_get_matches_from(args)?;
    Ok(match matches.subcommand_name() {
        Some(_) => Invocation::Command(C::from_arg_matches(&matches)?),
        None => Invocation::Serve(S::from_arg_matches(&matches)?),
    })
}

/// Ends `main`: with status 0, or 1 and the error in one line.
pub fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Validates a config file and says what it maps, without starting anything.
pub fn check(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let count = config.routes().len();
    print(&format_args!("{}: {count} mappings, all valid\n", file.display()))
}

/// Writes a command's result to standard output.
pub fn print(result: &dyn fmt::Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{result}").and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Writes a line to standard error, for a second at most: whoever reads it may be stuck, and the log's
/// thread with it. Where it is closed, nobody reads it.
pub fn remark(text: &dyn fmt::Display) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let line = format!("{text}\n");
    let (written, end) = mpsc::sync_channel::<()>(0);
    // Without a thread nobody waits.
    let _ = thread::Builder::new().spawn(move || {
        let _ = io::stderr().write_all(line.as_bytes());
        drop(written);
    });
    let _ = end.recv_timeout(PATIENCE);
}

/// Runs `serve` on the data thread, a runtime of its own. The token that it is given is cancelled
/// at the first SIGTERM or SIGINT; at the second the process ends at once.
pub fn run<F>(serve: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = LocalRuntime::new().context("cannot start a runtime")?;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let twice = async {
            next().await;
            tracing::info!("asked to end; finishing the requests in flight");
            stop.cancel();
            next().await;
        };
        tokio::select! {
            result = serve(stop.clone()) => result,
            () = twice => Err(anyhow!("ended by a second signal, with requests in flight")),
        }
    });
    // Without waiting for a name that is being looked up: no resolver may answer.
    runtime.shutdown_background();
    result
}

fn complain(text: &str) {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default();
    remark(&format_args!("{}: {text}", name.display()));
}

/// clap's message without its usage section.
fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let kept = lines.take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let mut text = kept.collect::<Vec<_>>().join(" ");
    text.push_str("; --help shows all flags");
    text
}

/// The same without what is before an `@` in a quoted value, which may be a password.
fn without_users(text: &str) -> String {
    let shown = |(number, part): (usize, &str)| match part.rfind('@') {
        Some(at) if number % 2 == 1 => {
            let scheme = part.find("://").map_or(0, |colon| colon + 3).min(at);
            format!("{}…{}", &part[..scheme], &part[at..])
        }
        _ => part.to_owned(),
    };
    text.split('\'').enumerate().map(shown).collect::<Vec<_>>().join("'")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves.
    #[derive(Debug, Parser)]
    struct Serve {
        #[arg(long)]
        port: u16,
    }

    /// Does something else.
    #[derive(Debug, Subcommand)]
    enum Other {
        Check { file: PathBuf },
    }

    fn parse(args: &[&str]) -> Result<Invocation<Other, Serve>, clap::Error> {
        parse_from(["x"].iter().chain(args).map(OsString::from))
    }

    #[test]
    fn takes_flags_or_a_command() {
        assert!(matches!(parse(&["--port", "1"]), Ok(Invocation::Serve(Serve { port: 1 }))));
        let Ok(Invocation::Command(Other::Check { file })) = parse(&["check", "f"]) else {
            panic!("not a command");
        };
        assert_eq!(file, PathBuf::from("f"));
        assert!(parse(&[]).is_err(), "the port is missing");
    }

    #[test]
    fn a_command_does_not_describe_the_program() {
        let help = parse(&["--help"]).unwrap_err().render().to_string();
        assert!(help.starts_with("Serves\n"), "{help}");
    }

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        let text =
            "invalid value 'ssh://me:secret@h:1' for '--tunnel <URL>': the user before the @";
        let shown = "invalid value 'ssh://…@h:1' for '--tunnel <URL>': the user before the @";
        assert_eq!(without_users(text), shown);
        assert_eq!(without_users("'ssh://h:1' me@h"), "'ssh://h:1' me@h");
        assert_eq!(without_users("'me:a b@h' is"), "'…@h' is");
    }

    #[test]
    fn a_mistake_is_told_in_one_line() {
        let text = one_line(&parse(&["--prot", "1"]).unwrap_err().render().to_string());
        assert!(text.starts_with("error: unexpected argument '--prot' found"), "{text}");
        assert!(!text.contains('\n') && !text.contains("Usage"), "{text}");
    }
}
