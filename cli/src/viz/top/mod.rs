//! `weft viz top`: sums calls up while they happen.

mod calls;
mod plain;
mod screen;
mod state;

use std::{
    io::{IsTerminal, stdin, stdout},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use crossterm::event::{Event, EventStream, KeyEventKind};
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    calls::Summing,
    state::{Action, State},
};
use super::{
    access::Viz,
    notes::say,
    options::VizOptions,
    tap::{CallOptions, Session, Update, say_skipped},
};
use crate::{
    global::Global,
    terminal::{colours, print},
};

/// Show which calls happen most, with their latencies and success rates
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # What the deployment web receives and sends
  weft viz top deploy/web -n emojivoto

  # Only what it sends to voting, without telling its pods apart
  weft viz top deploy/web -n emojivoto --to svc/voting-svc --hide-sources

  # Without a terminal: a table every ten seconds
  weft viz top deploy/web -n emojivoto | cat

Keys: q quits, ← → choose the column to sort by, r reverses, / filters, space pauses, ? shows all keys.")]
pub(crate) struct TopArgs {
    #[command(flatten)]
    calls: CallOptions,
    /// Sum up the calls of all sources
    #[arg(long)]
    hide_sources: bool,
    /// Sum up calls by route rather than by method and path
    #[arg(long)]
    routes: bool,
    /// Print rather than show: a table, or a line of JSON, every ten seconds
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<TopOutput>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TopOutput {
    Table,
    Json,
}

/// How often the screen is drawn while calls happen, and how often it is printed elsewhere.
const DRAW_EVERY: Duration = Duration::from_millis(250);
const PRINT_EVERY: Duration = Duration::from_secs(10);

pub(crate) async fn top(global: &Global, options: &VizOptions, args: &TopArgs) -> Result<()> {
    let targets = args.calls.targets()?;
    let viz = Arc::new(Viz::connect(global, options).await?);
    let paths = args.calls.paths(&viz, &targets).await?;
    let title = format!("weft viz top {} -n {}", args.calls.words(), viz.namespace);
    let mut state = State::new(title, Summing { hide_sources: args.hide_sources, routes: args.routes });
    let mut session = Session::open(&viz, paths);
    match args.output {
        None if stdout().is_terminal() && stdin().is_terminal() => {
            // What goes wrong at once is told on the ordinary screen.
            let first = session.next().await?;
            take(&mut state, first);
            // The panic hook of `try_init` restores the terminal, too.
            let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
            let result = show(&mut terminal, &mut state, &mut session).await;
            ratatui::restore();
            result
        }
        output => write(&mut state, &mut session, &args.calls, output == Some(TopOutput::Json)).await,
    }
}

async fn show(
    terminal: &mut ratatui::DefaultTerminal,
    state: &mut State,
    session: &mut Session,
) -> Result<()> {
    let colours = colours();
    let mut keys = EventStream::new();
    let mut ticks = tokio::time::interval(DRAW_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            update = session.next() => take(state, update?),
            _ = ticks.tick() => {
                terminal.draw(|frame| screen::draw(frame, state, colours))?;
            }
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            event = keys.next() => match event {
                None => return Ok(()),
                Some(event) => {
                    if let Event::Key(key) = event.context("the keyboard cannot be read")?
                        && key.kind != KeyEventKind::Release
                        && state.key(key) == Action::Quit
                    {
                        return Ok(());
                    }
                    terminal.draw(|frame| screen::draw(frame, state, colours))?;
                }
            },
        }
    }
}

fn take(state: &mut State, update: Update) {
    match update {
        Update::Events(events) => {
            state.note.clear();
            for event in &events {
                state.calls.add(event);
            }
        }
        Update::Started { pods, skipped } => {
            state.note = match (pods, skipped.first()) {
                (0, _) => "No pod is tapped; `weft viz list` tells why.".to_owned(),
                (pods, Some(first)) => {
                    format!(
                        "{pods} pods are tapped, {} are not: {}",
                        skipped.len(),
                        super::access::printable(&first.reason)
                    )
                }
                (_, None) => String::new(),
            };
        }
        Update::Dropped(events) => state.dropped += events,
        Update::Note(note) => state.note = note,
    }
}

/// Prints what was counted, again and again.
async fn write(state: &mut State, session: &mut Session, options: &CallOptions, json: bool) -> Result<()> {
    let mut ticks = tokio::time::interval(PRINT_EVERY);
    ticks.tick().await;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            update = session.next() => match update? {
                Update::Started { skipped, .. } => say_skipped(&skipped),
                Update::Note(note) => say(&note),
                update => take(state, update),
            },
            _ = ticks.tick() => {
                match std::mem::take(&mut state.dropped) {
                    0 => {}
                    events => options.say_missing(events),
                }
                match (json, state.calls.total()) {
                    (true, _) => print(&plain::json_line(state)?)?,
                    (false, 0) => say("No call has ended yet."),
                    (false, _) => print(&format!("{}\n", plain::table(state)))?,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_api::viz::TapEventKind;

    use super::calls::Calls;
    use crate::viz::tap::tests::events;

    /// Adds a call that succeeds.
    pub(super) fn call(calls: &mut Calls, id: &str, to: &str, ms: f64) {
        for mut event in events() {
            event.id = id.to_owned();
            match &mut event.event {
                TapEventKind::Request { method, path, source, destination, .. } => {
                    *method = "GET".to_owned();
                    *path = to.to_owned();
                    source.pod = Some("bot".to_owned());
                    destination.pod = Some("web".to_owned());
                }
                TapEventKind::Response { .. } => {}
                TapEventKind::End { duration_ms, grpc_status, .. } => {
                    *duration_ms = ms;
                    *grpc_status = None;
                }
            }
            calls.add(&event);
        }
    }
}
