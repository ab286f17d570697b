//! weft-control: who starts what?
#![forbid(unsafe_code)]

mod args;
mod logging;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use weft_control::Control;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = args::Args::parse();
    logging::init(args.log_format, &args.log_level).context("--log-level")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let control = Control::start(args.config()).await?;
    control
        .run_until(async move {
            let signal = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal, "stopping");
        })
        .await?;
    Ok(())
}
