//! weft-vm: a small cluster on this machine.
#![forbid(unsafe_code)]

mod cmd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "weft-vm",
    version,
    about = "A small cluster on this machine: nodes, pods and weft between them",
    after_help = "\
Examples:
  # The demo, until Ctrl-C
  weft-vm run

  # A program inside a pod of it, from another terminal
  weft-vm exec demo/client -- ip address

`cargo xtask run` builds everything that is needed, and starts this program."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a cluster and show its connections until Ctrl-C
    Run(cmd::run::Args),
    /// Run a program inside a pod of the running cluster
    Exec(cmd::exec::Args),
    /// Remove what a cluster's process left when it was killed; `run` starts this
    #[command(hide = true)]
    Guard(cmd::guard::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => cmd::run::run(args),
        Command::Exec(args) => cmd::exec::run(args),
        Command::Guard(args) => cmd::guard::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("weft-vm: {error:#}");
        ExitCode::FAILURE
    })
}
