//! `weft viz stat-inbound`: figures of what resources received.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use weft_api::viz::{AuthzRow, HttpStats, ResourceDetail, ResourceRef, Source, StatRow};

use super::{CONNECTIONS, FIGURES, SideArgs, connections, found, other};
use crate::{
    global::Global,
    terminal::print,
    viz::{
        access::Viz,
        format::{self, NONE},
        json::{count, text, with_figures},
        notes,
        options::{Output, VizOptions},
        resource::Target,
        table::{Align, Table},
    },
};

/// Print figures of the requests that resources received, by server and route, and by who sent them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # What the deployment web received
  weft viz stat-inbound deploy/web -n emojivoto

  # All deployments of a namespace, over the last ten minutes
  weft viz stat-inbound deploy -n emojivoto -t 10m

`-o wide` adds the connections and bytes of each source.")]
pub(crate) struct StatInboundArgs {
    #[command(flatten)]
    side: SideArgs,
}

pub(crate) async fn inbound(global: &Global, options: &VizOptions, args: &StatInboundArgs) -> Result<()> {
    let (window, output) = (args.side.window.window, args.side.output.output);
    let range = window.to_string();
    let targets = Target::parse_all(&args.side.resources)?;
    let viz = Viz::connect(global, options).await?;
    let found = found(&viz, &targets).await?;
    let mut details = Vec::new();
    let mut source = Source::Prometheus;
    for (at, ResourceRef { namespace, kind, name }) in found.iter().enumerate() {
        let path = format!("/api/resource/{namespace}/{kind}/{name}");
        let answer = viz.get::<ResourceDetail>(&path, &[("window", range.as_str())]).await?;
        if at == 0 {
            notes::about(&answer.meta);
            source = answer.meta.source;
        }
        details.push(answer.data);
    }
    if output == Output::Json {
        return print(&text(&details.iter().map(object).collect())?);
    }
    let tables = tables(&details, output == Output::Wide);
    if tables.is_empty() && !details.is_empty() {
        notes::say(&notes::no_traffic(Some(source), window, "requests received"));
    }
    print(&tables)
}

/// A table of servers and routes, and one of sources.
fn tables(details: &[ResourceDetail], wide: bool) -> String {
    let left = |names: &[&'static str]| names.iter().map(|name| (*name, Align::Left)).collect::<Vec<_>>();
    let mut columns = left(&["NAME", "SERVER", "ROUTE", "TYPE"]);
    columns.extend(FIGURES);
    let mut servers = Table::new(&columns);
    let mut columns = left(&["NAME", "SOURCE"]);
    columns.extend(FIGURES);
    columns.extend(CONNECTIONS.into_iter().filter(|_| wide));
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
            if wide {
                cells.extend(connections(row.tcp.unwrap_or_default()));
            }
            sources.row(cells);
        }
    }
    let tables = [servers, sources].into_iter().filter(|table| !table.is_empty());
    tables.map(|table| table.render()).collect::<Vec<_>>().join("\n")
}

fn object(detail: &ResourceDetail) -> Value {
    let server = |row: &AuthzRow| {
        let object = json!({ "server": row.server, "route": row.route, "authorization": row.authorization });
        with_figures(object, row.http.as_ref())
    };
    let source = |row: &StatRow| {
        let object = json!({
            "namespace": row.resource.namespace,
            "kind": row.resource.kind,
            "name": row.resource.name,
            "tcp_open_connections": row.tcp.map(|tcp| count(tcp.open_connections)),
        });
        with_figures(object, row.http.as_ref())
    };
    let servers = detail.authorizations.iter().filter(|row| row.http.is_some());
    json!({
        "namespace": detail.row.resource.namespace,
        "kind": detail.row.resource.kind,
        "name": detail.row.resource.name,
        "servers": servers.map(server).collect::<Vec<_>>(),
        "sources": detail.inbound.iter().map(source).collect::<Vec<_>>(),
    })
}

fn with_requests(rows: &[StatRow]) -> Vec<&StatRow> {
    let sent = |http: &HttpStats| http.requests > 0.0;
    let mut rows: Vec<_> = rows.iter().filter(|row| row.http.as_ref().is_some_and(sent)).collect();
    rows.sort_by(|a, b| a.resource.cmp(&b.resource));
    rows
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

    use weft_api::viz::{LatencyMs, ResourceType, TapState, TcpStats};

    use super::*;

    fn http(requests: f64, failures: f64) -> Option<HttpStats> {
        let latency = LatencyMs { p50: Some(1.0), p95: Some(2.0), p99: Some(3.0) };
        Some(HttpStats::of(requests, failures, 60.0, latency))
    }

    fn row(name: &str, http: Option<HttpStats>) -> StatRow {
        let resource = ResourceRef::new("emojivoto", ResourceType::Deployment, name);
        let tcp = Some(TcpStats { open_connections: 2.0, ..TcpStats::default() });
        StatRow { resource, status: None, pods: None, http, tcp, spark: None, split: None }
    }

    fn web() -> ResourceDetail {
        let authorization = |authorization: Option<&str>, denied_rps, http| AuthzRow {
            server: "web-http".to_owned(),
            route: "default".to_owned(),
            authorization: authorization.map(str::to_owned),
            denied_rps,
            http,
            connections: 0.0,
        };
        ResourceDetail {
            row: row("web", http(120.0, 12.0)),
            identities: Vec::new(),
            labels: BTreeMap::new(),
            inbound: vec![row("vote-bot", http(120.0, 12.0))],
            outbound: Vec::new(),
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
            tables(&[web()], false),
            "\
NAME   SERVER     ROUTE     TYPE   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99
web    web-http   default   -       90.00%   2.0rps           1ms           2ms           3ms

NAME   SOURCE            SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99
web    deploy/vote-bot    90.00%   2.0rps           1ms           2ms           3ms
"
        );
    }

    #[test]
    fn a_wide_table_has_the_connections_of_sources() {
        let text = tables(&[web()], true);
        assert!(text.contains("TCP_CONN   READ_BYTES/SEC   WRITE_BYTES/SEC\n"), "{text}");
        assert!(text.ends_with("       2           0.0B/s            0.0B/s\n"), "{text}");
    }

    #[test]
    fn json_has_the_names_of_the_other_commands() {
        let object = object(&web());
        assert_eq!(object["servers"][0]["latency_ms_p95"], 2.0);
        assert_eq!(object["sources"][0]["tcp_open_connections"], json!(2));
        assert_eq!(object["sources"][0]["kind"], "deployment");
    }
}
