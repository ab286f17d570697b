//! `weft viz stat-inbound` and `stat-outbound`: figures of what resources received and sent.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use weft_api::viz::{AuthzRow, HttpStats, ResourceDetail, ResourceRef, ResourceType, Source, StatRow};

use super::{
    access::Viz,
    format::{self, NONE},
    notes,
    options::{Output, OutputOption, VizOptions, WindowOption},
    resource::{Target, short},
    selector::resources,
    table::{Align, Table},
};
use crate::{global::Global, terminal::print};

/// Print figures of the requests that resources received, by server and route, and by who sent them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # What the deployment web received
  weft viz stat-inbound deploy/web -n emojivoto

  # All deployments of a namespace, over the last ten minutes
  weft viz stat-inbound deploy -n emojivoto -t 10m")]
pub(crate) struct StatInboundArgs {
    #[command(flatten)]
    side: SideArgs,
}

/// Print figures of the requests that resources sent, by where they went
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # What the deployment web sent
  weft viz stat-outbound deploy/web -n emojivoto

  # All deployments of a namespace, as JSON
  weft viz stat-outbound deploy -n emojivoto -o json

TIMEOUTS and RETRIES are empty: weft has no timeouts and retries by route yet.")]
pub(crate) struct StatOutboundArgs {
    #[command(flatten)]
    side: SideArgs,
}

#[derive(Debug, Args)]
struct SideArgs {
    /// TYPE, TYPE/NAME or TYPE NAME; several are possible
    #[arg(required = true, value_name = "RESOURCE")]
    resources: Vec<String>,
    #[command(flatten)]
    window: WindowOption,
    #[command(flatten)]
    output: OutputOption,
}

const FIGURES: [(&str, Align); 5] = [
    ("SUCCESS", Align::Right),
    ("RPS", Align::Right),
    ("LATENCY_P50", Align::Right),
    ("LATENCY_P95", Align::Right),
    ("LATENCY_P99", Align::Right),
];

pub(crate) async fn inbound(global: &Global, options: &VizOptions, args: &StatInboundArgs) -> Result<()> {
    let Some((source, details)) = details(global, options, &args.side).await? else { return Ok(()) };
    if args.side.output.output == Output::Json {
        let rows = details.iter().map(|detail| {
            json!({
                "namespace": detail.row.resource.namespace,
                "kind": detail.row.resource.kind,
                "name": detail.row.resource.name,
                "servers": detail.authorizations.iter().filter(|row| row.http.is_some()).collect::<Vec<_>>(),
                "sources": detail.inbound,
            })
        });
        return print(&format!("{}\n", serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?));
    }
    let text = inbound_tables(&details);
    if text.is_empty() {
        notes::say(&notes::no_traffic(Some(source), args.side.window.window, "requests received"));
    }
    print(&text)
}

pub(crate) async fn outbound(global: &Global, options: &VizOptions, args: &StatOutboundArgs) -> Result<()> {
    let Some((source, details)) = details(global, options, &args.side).await? else { return Ok(()) };
    if args.side.output.output == Output::Json {
        let rows = details.iter().map(|detail| {
            json!({
                "namespace": detail.row.resource.namespace,
                "kind": detail.row.resource.kind,
                "name": detail.row.resource.name,
                "destinations": detail.outbound,
            })
        });
        return print(&format!("{}\n", serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?));
    }
    let table = outbound_table(&details);
    if table.is_empty() {
        notes::say(&notes::no_traffic(Some(source), args.side.window.window, "requests sent"));
        return Ok(());
    }
    print(&table.render())
}

/// What was found, and where the figures are from.
type Details = (Source, Vec<ResourceDetail>);

async fn details(global: &Global, options: &VizOptions, args: &SideArgs) -> Result<Option<Details>> {
    let targets = Target::parse_all(&args.resources)?;
    let viz = Viz::connect(global, options).await?;
    let mut found = Vec::new();
    for target in &targets {
        let resources = resources(&viz, &viz.namespace, target, None).await?;
        if resources.is_empty() {
            let plural = format!("{}s", target.api_type());
            notes::say(&notes::no_such(&viz, Some(&viz.namespace), &plural).await?);
        }
        found.extend(resources);
    }
    if found.is_empty() {
        return Ok(None);
    }
    let mut details = Vec::new();
    let mut source = Source::Prometheus;
    for (at, ResourceRef { namespace, kind, name }) in found.iter().enumerate() {
        let path = format!("/api/resource/{namespace}/{kind}/{name}");
        let answer = viz.get::<ResourceDetail>(&path, &[("window", args.window.window.as_str())]).await?;
        if at == 0 {
            notes::about(&answer.meta);
            source = answer.meta.source;
        }
        details.push(answer.data);
    }
    Ok(Some((source, details)))
}

/// A table of servers and routes, and one of sources.
fn inbound_tables(details: &[ResourceDetail]) -> String {
    let mut columns =
        vec![("NAME", Align::Left), ("SERVER", Align::Left), ("ROUTE", Align::Left), ("TYPE", Align::Left)];
    columns.extend(FIGURES);
    let mut servers = Table::new(&columns);
    let mut columns = vec![("NAME", Align::Left), ("SOURCE", Align::Left)];
    columns.extend(FIGURES);
    let mut sources = Table::new(&columns);
    for detail in details {
        let name = &detail.row.resource.name;
        for AuthzRow { server, route, http, .. } in &detail.authorizations {
            if let Some(http) = http.as_ref().filter(|http| http.requests > 0.0) {
                let (route, kind) = route_type(route);
                let mut cells = vec![name.clone(), server.clone(), route, kind];
                cells.extend(format::http(Some(http)));
                servers.row(cells);
            }
        }
        for row in with_requests(&detail.inbound) {
            let mut cells = vec![name.clone(), other(&row.resource, &detail.row.resource)];
            cells.extend(format::http(row.http.as_ref()));
            sources.row(cells);
        }
    }
    let tables = [servers, sources].into_iter().filter(|table| !table.is_empty());
    tables.map(|table| table.render()).collect::<Vec<_>>().join("\n")
}

fn outbound_table(details: &[ResourceDetail]) -> Table {
    let left = ["NAME", "SERVICE", "ROUTE", "TYPE", "BACKEND"].map(|name| (name, Align::Left));
    let mut columns = left.to_vec();
    columns.extend(FIGURES);
    columns.extend(["TIMEOUTS", "RETRIES"].map(|name| (name, Align::Right)));
    let mut table = Table::new(&columns);
    for detail in details {
        for row in with_requests(&detail.outbound) {
            let end = other(&row.resource, &detail.row.resource);
            let (service, backend) = match row.resource.kind {
                ResourceType::Service => (end, NONE.to_owned()),
                _ => (NONE.to_owned(), end),
            };
            let none = || NONE.to_owned();
            let mut cells =
                vec![detail.row.resource.name.clone(), service, "[DEFAULT]".to_owned(), none(), backend];
            cells.extend(format::http(row.http.as_ref()));
            cells.extend([none(), none()]);
            table.row(cells);
        }
    }
    table
}

fn with_requests(rows: &[StatRow]) -> Vec<&StatRow> {
    let sent = |http: &HttpStats| http.requests > 0.0;
    let mut rows: Vec<_> = rows.iter().filter(|row| row.http.as_ref().is_some_and(sent)).collect();
    rows.sort_by(|a, b| a.resource.cmp(&b.resource));
    rows
}

/// The other end, with its namespace if that is another.
fn other(end: &ResourceRef, of: &ResourceRef) -> String {
    let name = format!("{}/{}", short(end.kind), end.name);
    if end.namespace == of.namespace { name } else { format!("{}/{name}", end.namespace) }
}

/// A route's name, and its type if the name begins with that, as in `HTTPRoute/checkout`.
fn route_type(route: &str) -> (String, String) {
    match route.split_once('/') {
        Some((kind, name)) if kind.ends_with("Route") => (name.to_owned(), kind.to_owned()),
        _ => (route.to_owned(), NONE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weft_api::viz::{LatencyMs, TapState};

    use super::*;

    fn http(requests: f64, failures: f64) -> Option<HttpStats> {
        let latency = LatencyMs { p50: Some(1.0), p95: Some(2.0), p99: Some(3.0) };
        Some(HttpStats::of(requests, failures, 60.0, latency))
    }

    fn row(namespace: &str, kind: ResourceType, name: &str, http: Option<HttpStats>) -> StatRow {
        let resource = ResourceRef::new(namespace, kind, name);
        StatRow { resource, status: None, pods: None, http, tcp: None, spark: None, split: None }
    }

    fn web() -> ResourceDetail {
        let deploy = ResourceType::Deployment;
        let authorization = |authorization: Option<&str>, denied_rps, http| AuthzRow {
            server: "web-http".to_owned(),
            route: "default".to_owned(),
            authorization: authorization.map(str::to_owned),
            denied_rps,
            http,
        };
        ResourceDetail {
            row: row("emojivoto", deploy, "web", http(120.0, 12.0)),
            identities: Vec::new(),
            labels: BTreeMap::new(),
            inbound: vec![row("emojivoto", deploy, "vote-bot", http(120.0, 12.0))],
            outbound: vec![
                row("emojivoto", ResourceType::Service, "voting-svc", http(60.0, 9.0)),
                row("shared", deploy, "emoji", http(60.0, 0.0)),
                row("shared", deploy, "idle", None),
            ],
            split: Vec::new(),
            pods: Vec::new(),
            edges: Vec::new(),
            authorizations: vec![
                authorization(Some("all"), 0.0, http(120.0, 12.0)),
                authorization(None, 1.0, None),
            ],
            worst: Vec::new(),
            tap: TapState::Allowed,
        }
    }

    #[test]
    fn what_was_received_is_shown_by_server_and_by_source() {
        assert_eq!(
            inbound_tables(&[web()]),
            "\
NAME   SERVER     ROUTE     TYPE   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99
web    web-http   default   -       90.00%   2.0rps           1ms           2ms           3ms

NAME   SOURCE            SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99
web    deploy/vote-bot    90.00%   2.0rps           1ms           2ms           3ms
"
        );
    }

    #[test]
    fn what_was_sent_is_shown_by_destination() {
        assert_eq!(
            outbound_table(&[web()]).render(),
            "\
NAME   SERVICE          ROUTE       TYPE   BACKEND               SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TIMEOUTS   RETRIES
web    svc/voting-svc   [DEFAULT]   -      -                      85.00%   1.0rps           1ms           2ms           3ms          -         -
web    -                [DEFAULT]   -      shared/deploy/emoji   100.00%   1.0rps           1ms           2ms           3ms          -         -
"
        );
    }
}
