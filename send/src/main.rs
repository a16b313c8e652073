//! `tunnel-send`: see the library for what it does.

use std::process::ExitCode;

use anyhow::Context;
use tunnel_common::cli::{self, Invocation};
use tunnel_common::keys;
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

#[expect(clippy::print_stdout, reason = "the command's result")]
fn make_keys(args: &KeysArgs) -> anyhow::Result<()> {
    let summary = keys::generate(&args.out, &args.name, &args.cluster)?;
    println!("{summary}");
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
