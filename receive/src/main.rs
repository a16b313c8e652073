//! `tunnel-receive`: see the library for what it does.

use std::process::ExitCode;

use anyhow::Context;
use tunnel_common::cli;
use tunnel_common::telemetry::Telemetry;
use tunnel_receive::app::App;
use tunnel_receive::args::{Cli, Command, ServeArgs};

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    cli::finish(match (cli.command, cli.serve) {
        (Some(Command::Check { file }), _) => cli::check(&file),
        (None, Some(args)) => serve(&args),
        (None, None) => Err(anyhow::anyhow!("nothing to do; --help shows all flags")),
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
