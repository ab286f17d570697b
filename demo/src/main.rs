//! weft-demo, the sample applications: emojivoto, and a TCP client and server.
#![forbid(unsafe_code)]

mod emojivoto;
mod tcp;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Parser)]
#[command(
    name = "weft-demo",
    version,
    about = "The programs of emojivoto (web, emoji, voting, vote-bot), and a TCP client and server that check every byte"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// emojivoto: serve the page and its HTTP API, which call emoji and voting by gRPC
    Web(emojivoto::web::Args),
    /// emojivoto: serve the list of emojis by gRPC
    Emoji(emojivoto::emoji::Args),
    /// emojivoto: count votes by gRPC; votes for the doughnut fail
    Voting(emojivoto::voting::Args),
    /// emojivoto: vote again and again, as a user does
    VoteBot(emojivoto::vote_bot::Args),
    /// TCP: send requests, check the responses, report each second
    Client(tcp::client::Args),
    /// TCP: answer each request with its own bytes
    Server(tcp::server::Args),
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
        Command::Web(args) => emojivoto::web::run(args, stopped).await,
        Command::Emoji(args) => emojivoto::emoji::run(args, stopped).await,
        Command::Voting(args) => emojivoto::voting::run(args, stopped).await,
        Command::VoteBot(args) => emojivoto::vote_bot::run(args, stopped).await,
        Command::Client(args) => tcp::client::run(args, stopped).await,
        Command::Server(args) => tcp::server::run(args, stopped).await,
    }
}
