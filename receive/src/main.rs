//! `tunnel-receive`: see the library for what it does.

use std::process::ExitCode;

use anyhow::Context;
use tunnel_common::cli::{self, Invocation};
use tunnel_common::telemetry::Telemetry;
use tunnel_receive::app::App;
use tunnel_receive::args::{Command, ServeArgs};

fn main() -> ExitCode {
    cli::finish(match cli::parse() {
        Invocation::Command(Command::Check { file }) => cli::check(&file),
        Invocation::Serve(args) => serve(&args),
    })
}

fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let telemetry = Telemetry::start(args.base.log.clone()).context("cannot start the log")?;
    cli::run(async |stop| {
        let app = App::build(args).await?;
        app.register(&telemetry);
        app.run_until(stop.cancelled()).await
    })
}
