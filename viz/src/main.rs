//! weft-viz: serves the dashboard with its API, and live calls.
#![forbid(unsafe_code)]

use clap::Parser;

/// weft's dashboard and its API
#[derive(Debug, Parser)]
#[command(version)]
struct Args {}

fn main() -> anyhow::Result<()> {
    let Args {} = Args::parse();
    Ok(())
}
