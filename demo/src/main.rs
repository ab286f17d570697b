//! weft-demo, the sample application: a client and a server in one program.
#![forbid(unsafe_code)]

mod client;
mod frame;
mod report;
mod server;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Parser)]
#[command(name = "weft-demo", version, about = "A TCP client and server that check every byte")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send requests, check the responses, report each second
    Client(client::Args),
    /// Answer each request with its own bytes
    Server(server::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command;
    let (stop, stopped) = watch::channel(false);
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        // An error means that main has ended already.
        let _ = stop.send(true);
    });
    match command {
        Command::Client(args) => client::run(args, stopped).await,
        Command::Server(args) => server::run(args, stopped).await,
    }
}
