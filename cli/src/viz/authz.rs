//! `weft viz authz`: figures by server and authorization, and what was denied.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use weft_api::viz::{AuthzRow, Selector};

use super::{
    access::Viz,
    format::{self, NONE},
    json::count,
    notes,
    options::{Output, OutputOption, VizOptions, WindowOption},
    resource::Target,
    selector::{none, resources},
    table::{Align, Table},
};
use crate::{global::Global, terminal::print};

/// Print figures by server, route and authorization, and what policy denied
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # The deployment voting
  weft viz authz deploy/voting -n emojivoto

  # All deployments of a namespace with a label, over the last hour
  weft viz authz deploy -n emojivoto -l app=voting-svc -t 1h

UNAUTHORIZED is what nothing allowed. CONNECTIONS are those at ports that are not HTTP, as of databases: how many were
allowed within the range of time, or, in a row without an authorization, refused; the column is there if there were any.
`weft authz` lists the authorizations themselves.")]
pub(crate) struct AuthzArgs {
    /// TYPE, TYPE/NAME or TYPE NAME; several are possible
    #[arg(required = true, value_name = "RESOURCE")]
    resources: Vec<String>,
    /// Only resources with these labels, as in app=web
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
    #[command(flatten)]
    window: WindowOption,
    #[command(flatten)]
    output: OutputOption,
}

pub(crate) async fn authz(global: &Global, options: &VizOptions, args: &AuthzArgs) -> Result<()> {
    let targets = Target::parse_all(&args.resources)?;
    let viz = Viz::connect(global, options).await?;
    let mut found = Vec::new();
    for target in &targets {
        found.extend(resources(&viz, &viz.namespace, target, args.selector.as_ref()).await?);
    }
    if found.is_empty() {
        notes::say(&none(&viz, &targets, args.selector.as_ref()).await?);
    }
    let several = found.len() > 1;
    let range = args.window.window.to_string();
    let mut all = Vec::new();
    let mut source = None;
    for (at, resource) in found.iter().enumerate() {
        let query = [
            ("window", range.as_str()),
            ("namespace", &resource.namespace),
            ("type", resource.kind.as_str()),
            ("name", &resource.name),
        ];
        let answer = viz.get::<Vec<AuthzRow>>("/api/authz", &query).await?;
        if at == 0 {
            notes::about(&answer.meta);
            source = Some(answer.meta.source);
        }
        all.extend(answer.data.into_iter().map(|row| (resource.name.clone(), row)));
    }
    all.sort_by(|(a, x), (b, y)| {
        (a, &x.server, &x.route, &x.authorization).cmp(&(b, &y.server, &y.route, &y.authorization))
    });
    if !found.is_empty() && all.is_empty() {
        notes::say(&notes::no_traffic(source, args.window.window, "requests or connections"));
    }
    match args.output.output {
        Output::Json => print(&json_text(&all)?),
        _ if all.is_empty() => Ok(()),
        _ => print(&table(&all, several).render()),
    }
}

fn table(rows: &[(String, AuthzRow)], names: bool) -> Table {
    let mut columns = Vec::new();
    if names {
        columns.push(("NAME", Align::Left));
    }
    columns.extend(["ROUTE", "SERVER", "AUTHORIZATION"].map(|name| (name, Align::Left)));
    columns.extend(
        ["UNAUTHORIZED", "SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99"]
            .map(|name| (name, Align::Right)),
    );
    let connections = rows.iter().any(|(_, row)| row.connections > 0.0);
    columns.extend(connections.then_some(("CONNECTIONS", Align::Right)));
    let mut table = Table::new(&columns);
    for (name, row) in rows {
        let mut cells = Vec::new();
        if names {
            cells.push(name.clone());
        }
        let authorization = row.authorization.clone().unwrap_or_else(|| NONE.to_owned());
        let denied = if row.authorization.is_none() || row.denied_rps > 0.0 {
            format::rps(row.denied_rps)
        } else {
            NONE.to_owned()
        };
        cells.extend([row.route.clone(), row.server.clone(), authorization, denied]);
        cells.extend(format::http(row.http.as_ref()));
        cells.extend(connections.then(|| format::count_or_none(row.connections)));
        table.row(cells);
    }
    table
}

fn json_text(rows: &[(String, AuthzRow)]) -> Result<String> {
    let rows: Vec<_> = rows
        .iter()
        .map(|(name, row)| {
            let http = row.http.as_ref();
            json!({
                "name": name,
                "route": row.route,
                "server": row.server,
                "authorization": row.authorization,
                "unauthorized_rps": row.denied_rps,
                "success": http.and_then(|http| http.success_rate),
                "rps": http.map(|http| http.rps),
                "latency_ms_p50": http.and_then(|http| http.latency_ms.p50),
                "latency_ms_p95": http.and_then(|http| http.latency_ms.p95),
                "latency_ms_p99": http.and_then(|http| http.latency_ms.p99),
                "tcp_connections": count(row.connections),
            })
        })
        .collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&rows)?))
}

#[cfg(test)]
mod tests {
    use weft_api::viz::{HttpStats, LatencyMs};

    use super::*;

    #[test]
    fn what_nothing_allowed_has_a_row_of_its_own() {
        let latency = LatencyMs { p50: Some(1.0), p95: Some(2.0), p99: Some(2.0) };
        let row = |authorization: Option<&str>, denied_rps, http| {
            let (server, route) = ("voting-grpc".to_owned(), "default".to_owned());
            let authorization = authorization.map(str::to_owned);
            let row = AuthzRow { server, route, authorization, denied_rps, http, connections: 0.0 };
            ("voting".to_owned(), row)
        };
        let rows = [
            row(None, 0.5, None),
            row(Some("serverauthorization/web"), 0.0, Some(HttpStats::of(60.0, 0.0, 60.0, latency))),
        ];
        assert_eq!(
            table(&rows, false).render(),
            "\
ROUTE     SERVER        AUTHORIZATION             UNAUTHORIZED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99
default   voting-grpc   -                               0.5rps         -        -             -             -             -
default   voting-grpc   serverauthorization/web              -   100.00%   1.0rps           1ms           2ms           2ms
"
        );
    }

    #[test]
    fn connections_that_are_not_http_have_a_column_if_there_are_any() {
        let row = |authorization: Option<&str>, denied_rps, connections| {
            let (server, route) = ("redis".to_owned(), "default".to_owned());
            let authorization = authorization.map(str::to_owned);
            (
                "redis".to_owned(),
                AuthzRow { server, route, authorization, denied_rps, http: None, connections },
            )
        };
        let rows = [
            row(None, 0.5, 30.0),
            row(Some("serverauthorization/web"), 0.0, 12.0),
            row(Some("default:audit"), 0.0, 0.0),
        ];
        assert_eq!(
            table(&rows, false).render(),
            "\
ROUTE     SERVER   AUTHORIZATION             UNAUTHORIZED   SUCCESS   RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   CONNECTIONS
default   redis    -                               0.5rps         -     -             -             -             -            30
default   redis    serverauthorization/web              -         -     -             -             -             -            12
default   redis    default:audit                        -         -     -             -             -             -             -
"
        );
        assert!(json_text(&rows).unwrap().contains("\"tcp_connections\": 30"));
    }
}
