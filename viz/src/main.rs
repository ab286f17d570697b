//! weft-viz: serves the dashboard with its API, and live calls.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match weft_viz::run(weft_viz::Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes, without a backtrace: it would not help an operator.
            eprintln!("weft-viz: {error:#}");
            ExitCode::FAILURE
        }
    }
}
