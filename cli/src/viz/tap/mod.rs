//! `weft viz tap`: prints calls while they happen.

mod json;
mod jsonpath;
mod lines;
mod query;
mod requests;
mod session;

use std::{str::FromStr, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use weft_api::viz::SkippedPod;

use self::{json::Objects, jsonpath::Template, lines::Lines};
pub(crate) use self::{
    query::CallOptions,
    requests::Requests,
    session::{Session, Update},
};
use super::{
    access::{Viz, printable},
    notes::say,
    options::VizOptions,
};
use crate::{global::Global, terminal::print};

/// Print calls while they happen: a line for each request, response and end
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # What the deployment web receives and sends
  weft viz tap deploy/web -n emojivoto

  # Only the votes that it sends to voting
  weft viz tap deploy/web -n emojivoto --to svc/voting-svc --path /emojivoto.v1.VotingService/Vote

  # All of a namespace, at most ten requests per second, as JSON
  weft viz tap ns/emojivoto --max-rps 10 -o json

  # Who calls what
  weft viz tap deploy/web -n emojivoto -o jsonpath='{.source.ip} {.requestInitEvent.path}'

Ctrl-C ends it. Nothing needs a restart before it can be tapped; `weft viz list` tells what cannot be.")]
pub(crate) struct TapArgs {
    #[command(flatten)]
    calls: CallOptions,
    /// The format of the output: table (lines), wide (lines with the resources, namespaces and pods of both ends), json
    /// (one object per line), or jsonpath=TEMPLATE (one text per line, of these objects)
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: TapOutput,
}

#[derive(Clone, Debug, PartialEq)]
enum TapOutput {
    Table,
    Wide,
    Json,
    JsonPath(Template),
}

impl FromStr for TapOutput {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let template = text.strip_prefix("jsonpath").map(|rest| rest.strip_prefix('=').unwrap_or(rest));
        match (text, template) {
            ("table", _) => Ok(Self::Table),
            ("wide", _) => Ok(Self::Wide),
            ("json", _) => Ok(Self::Json),
            (_, Some(template)) => template.parse().map(Self::JsonPath),
            _ => Err("write table, wide, json or jsonpath='{.source.ip}'".to_owned()),
        }
    }
}

/// After so long without a call, the command says that it waits.
const QUIET: Duration = Duration::from_secs(5);
/// Missing events are told not more often than this.
const REPORT_EVERY: Duration = Duration::from_secs(10);

pub(crate) async fn tap(global: &Global, options: &VizOptions, args: &TapArgs) -> Result<()> {
    let targets = args.calls.targets()?;
    let viz = Arc::new(Viz::connect(global, options).await?);
    let paths = args.calls.paths(&viz, &targets).await?;
    let mut session = Session::open(&viz, paths);
    let mut lines = Lines::new(args.output == TapOutput::Wide);
    let mut objects = Objects::default();
    let mut pods = 0;
    let mut missing = Missing::default();
    let mut quiet = Some(Instant::now() + QUIET);
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        let update = tokio::select! {
            _ = interrupt.recv() => {
                missing.report(&args.calls);
                return Ok(());
            }
            update = session.next() => match update {
                Ok(update) => update,
                Err(error) => {
                    missing.report(&args.calls);
                    return Err(error);
                }
            },
            () = until(missing.due) => {
                missing.report(&args.calls);
                continue;
            }
            () = until(quiet) => {
                quiet = None;
                say(&waiting(pods, &args.calls.filters()));
                continue;
            }
        };
        match update {
            Update::Events(events) => {
                quiet = None;
                let mut text = String::new();
                for event in &events {
                    match &args.output {
                        TapOutput::Json => text.push_str(&objects.object(event).to_string()),
                        TapOutput::JsonPath(template) => {
                            text.push_str(&template.fill(&objects.object(event)));
                        }
                        TapOutput::Table | TapOutput::Wide => text.push_str(&lines.line(event)),
                    }
                    text.push('\n');
                }
                print(&text)?;
            }
            Update::Started { pods: tapped, skipped } => {
                pods = tapped;
                say_skipped(&skipped);
            }
            Update::Dropped(events) => missing.add(events),
            Update::Note(note) => say(&note),
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Events that the server kept back and that were not told yet.
#[derive(Debug, Default)]
struct Missing {
    events: u64,
    due: Option<Instant>,
    reported: Option<Instant>,
}

impl Missing {
    /// The first are told at once.
    fn add(&mut self, events: u64) {
        self.events += events;
        let due = self.reported.map_or_else(Instant::now, |reported| reported + REPORT_EVERY);
        self.due.get_or_insert(due);
    }

    fn report(&mut self, calls: &CallOptions) {
        self.due = None;
        if self.events > 0 {
            calls.say_missing(std::mem::take(&mut self.events));
            self.reported = Some(Instant::now());
        }
    }
}

fn waiting(pods: u32, filters: &[String]) -> String {
    let pods = match pods {
        1 => "1 pod is tapped".to_owned(),
        n => format!("{n} pods are tapped"),
    };
    match filters {
        [] => format!("No call was seen yet; {pods}. Waiting."),
        filters => format!("No call has matched {} yet; {pods}. Waiting.", filters.join(" ")),
    }
}

pub(crate) fn say_skipped(skipped: &[SkippedPod]) {
    const MOST: usize = 10;
    for pod in skipped.iter().take(MOST) {
        say(&format!("The pod {} is not tapped: {}.", printable(&pod.pod), printable(&pod.reason)));
    }
    if skipped.len() > MOST {
        say(&format!("{} more pods are not tapped; `weft viz list` tells why.", skipped.len() - MOST));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use weft_api::viz::{Direction, ResourceRef, ResourceType, TapEnd, TapEvent, TapEventKind, Tls};

    #[test]
    fn a_tap_that_shows_nothing_names_its_filters() {
        assert_eq!(super::waiting(1, &[]), "No call was seen yet; 1 pod is tapped. Waiting.");
        let filters = ["--method GET".to_owned(), "--path /api".to_owned()];
        assert_eq!(
            super::waiting(2, &filters),
            "No call has matched --method GET --path /api yet; 2 pods are tapped. Waiting."
        );
    }

    #[test]
    fn missing_events_are_summed_up_until_they_are_told() {
        let mut missing = super::Missing::default();
        missing.add(3);
        assert!(missing.due.is_some_and(|due| due <= super::Instant::now()), "the first are told at once");
        missing.reported = missing.due.take();
        missing.events = 0;
        missing.add(4);
        missing.add(5);
        assert_eq!(missing.events, 9);
        assert_eq!(missing.due, missing.reported.map(|at| at + super::REPORT_EVERY));
    }

    /// A call that fails.
    pub(crate) fn events() -> Vec<TapEvent> {
        let end = |name: &str, address: &str| TapEnd {
            resource: Some(ResourceRef::new("emojivoto", ResourceType::Deployment, name)),
            pod: Some(format!("{name}-1")),
            address: address.to_owned(),
        };
        let event = |event| TapEvent { id: "0:1".to_owned(), at: 1.0, direction: Direction::Inbound, event };
        vec![
            event(TapEventKind::Request {
                source: end("web", "10.244.1.3:41234"),
                destination: end("voting", "10.244.2.3:8080"),
                tls: Tls::True,
                method: "POST".to_owned(),
                scheme: Some("http".to_owned()),
                authority: "voting-svc.emojivoto:8080".to_owned(),
                path: "/emojivoto.v1.VotingService/VoteDoughnut".to_owned(),
                route: None,
                headers: Vec::new(),
            }),
            event(TapEventKind::Response { status: 200, latency_ms: 0.123, headers: Vec::new() }),
            event(TapEventKind::End {
                duration_ms: 1.25,
                response_bytes: 2,
                grpc_status: Some("UNKNOWN".to_owned()),
                reset: None,
            }),
        ]
    }
}
