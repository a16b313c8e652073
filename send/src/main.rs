//! `tunnel-send`: see the library for what it does.

use std::process::ExitCode;

use anyhow::Context;
use tunnel_common::cli::{self, Invocation};
use tunnel_common::keys::{self, Secrets};
use tunnel_common::telemetry::Telemetry;
use tunnel_send::app::App;
use tunnel_send::args::{Command, KeysArgs, ServeArgs};

fn main() -> ExitCode {
    cli::finish(match cli::parse() {
        Invocation::Command(Command::Check { file }) => cli::check(&file),
        Invocation::Command(Command::Keys(args)) => make_keys(&args),
        Invocation::Serve(args) => serve(&args),
    })
}

fn make_keys(args: &KeysArgs) -> anyhow::Result<()> {
    let KeysArgs { out, name, cluster, kubernetes } = args;
    let summary = out.as_ref().map(|out| keys::generate(out, name, cluster)).transpose()?;
    match (summary, kubernetes) {
        (Some(summary), Some(namespace)) => {
            cli::print(&Secrets::load(&summary, namespace)?)?;
            cli::remark(&summary);
        }
        (Some(summary), None) => cli::print(&format_args!("{summary}\n"))?,
        (None, Some(namespace)) => {
            cli::print(&Secrets::generate(name, cluster, namespace)?)?;
            cli::remark(
                &"The authority is not kept; with --out DIR it can issue further clusters.",
            );
        }
        (None, None) => anyhow::bail!("give --out DIR, or --kubernetes to print Secrets"),
    }
    Ok(())
}

fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let telemetry = Telemetry::start(args.base.log.clone()).context("cannot start the log")?;
    cli::run(async |stop| {
        let app = App::build(args).await?;
        app.register(&telemetry);
        app.run_until(stop.cancelled()).await
    })
}
