//! `tunnel-send`: see the library for what it does.

use std::process::ExitCode;

use anyhow::Context;
use tunnel_common::telemetry::Telemetry;
use tunnel_common::{cli, keys};
use tunnel_send::app::App;
use tunnel_send::args::{Cli, Command, KeysArgs, ServeArgs};

fn main() -> ExitCode {
    let cli: Cli = cli::parse();
    cli::finish(match (cli.command, cli.serve) {
        (Some(Command::Check { file }), _) => cli::check(&file),
        (Some(Command::Keys(args)), _) => make_keys(&args),
        (None, Some(args)) => serve(&args),
        (None, None) => Err(anyhow::anyhow!("nothing to do; --help shows all flags")),
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
