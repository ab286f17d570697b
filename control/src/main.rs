//! The program weft-control: parses options, starts the control plane, and stops it on a signal.
#![forbid(unsafe_code)]

mod args;
mod defaults;
mod logging;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use weft_control::Control;

#[tokio::main]
async fn main() -> ExitCode {
    match run(args::Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes, without a backtrace: it would not help an operator.
            eprintln!("weft-control: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: args::Args) -> anyhow::Result<()> {
    logging::init(args.log_format, &args.log_level).context("--log-level")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut stop = Box::pin(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal, "stopping");
    });
    // The start may take as long as the API server is away.
    let control = tokio::select! {
        control = Control::start(args.config()) => control?,
        () = &mut stop => return Ok(()),
    };
    control.run_until(stop).await?;
    Ok(())
}
