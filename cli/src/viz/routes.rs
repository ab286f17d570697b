//! `weft viz routes`: figures by route.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use weft_api::viz::{ActualStats, ResourceRef, RouteRow, Selector};

use super::{
    access::Viz,
    format, notes,
    options::{Output, OutputOption, VizOptions, WindowOption},
    resource::{Target, short},
    selector::{none, resources},
    table::{Align, Table},
};
use crate::{global::Global, terminal::print};

/// Print figures by route
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # What the service voting-svc received
  weft viz routes svc/voting-svc -n emojivoto

  # What the deployment web sent to it; `-o wide` tells retries from requests
  weft viz routes deploy/web -n emojivoto --to svc/voting-svc -o wide

Requests that no route matches are in the row [DEFAULT].")]
pub(crate) struct RoutesArgs {
    /// TYPE, TYPE/NAME or TYPE NAME; several are possible
    #[arg(required = true, value_name = "RESOURCE")]
    resources: Vec<String>,
    /// Only requests to this resource, as they were sent: TYPE/NAME
    #[arg(long, value_name = "RESOURCE")]
    to: Option<String>,
    /// The namespace of --to; otherwise the same as that of the resources
    #[arg(long, value_name = "NAMESPACE", requires = "to")]
    to_namespace: Option<String>,
    /// Only resources with these labels, as in app=web
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
    #[command(flatten)]
    window: WindowOption,
    #[command(flatten)]
    output: OutputOption,
}

pub(crate) async fn routes(global: &Global, options: &VizOptions, args: &RoutesArgs) -> Result<()> {
    let targets = Target::parse_all(&args.resources)?;
    let to = args.to.as_deref().map(Target::parse).transpose()?;
    let viz = Viz::connect(global, options).await?;
    let to = match &to {
        Some(target) => Some(target.resource(args.to_namespace.as_deref().unwrap_or(&viz.namespace))?),
        None => None,
    };
    let mut found = Vec::new();
    for target in &targets {
        found.extend(resources(&viz, &viz.namespace, target, args.selector.as_ref()).await?);
    }
    if found.is_empty() {
        notes::say(&none(&viz, &targets, args.selector.as_ref()).await?);
    }
    let range = args.window.window.to_string();
    let mut all = Vec::new();
    let mut source = None;
    for (at, resource) in found.into_iter().enumerate() {
        let mut query = vec![
            ("window", range.as_str()),
            ("namespace", &resource.namespace),
            ("type", resource.kind.as_str()),
            ("name", &resource.name),
        ];
        if let Some(to) = &to {
            query.extend([
                ("to_namespace", to.namespace.as_str()),
                ("to_type", to.kind.as_str()),
                ("to_name", &to.name),
            ]);
        }
        let answer = viz.get::<Vec<RouteRow>>("/api/routes", &query).await?;
        if at == 0 {
            notes::about(&answer.meta);
            source = Some(answer.meta.source);
        }
        let mut rows = answer.data;
        rows.sort_by(|a, b| (&a.service, &a.route).cmp(&(&b.service, &b.route)));
        all.push((resource, rows));
    }
    if !all.is_empty() && all.iter().all(|(_, rows)| rows.is_empty()) {
        notes::say(&notes::no_traffic(source, args.window.window, "requests"));
    }
    match args.output.output {
        Output::Json => print(&json_text(&all)?),
        output => print(&tables(&all, output == Output::Wide && to.is_some())),
    }
}

fn json_text(all: &[(ResourceRef, Vec<RouteRow>)]) -> Result<String> {
    let mut map = serde_json::Map::new();
    for (resource, rows) in all {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "route": row.route,
                    "authority": row.service,
                    "success": row.http.success_rate,
                    "rps": row.http.rps,
                    "actual_success": actual(row).success_rate,
                    "actual_rps": actual(row).rps,
                    "latency_ms_p50": row.http.latency_ms.p50,
                    "latency_ms_p95": row.http.latency_ms.p95,
                    "latency_ms_p99": row.http.latency_ms.p99,
                })
            })
            .collect();
        map.insert(format!("{}/{}", short(resource.kind), resource.name), rows.into());
    }
    Ok(format!("{}\n", serde_json::to_string_pretty(&map)?))
}

/// One table per resource; with headings if there are several.
fn tables(all: &[(ResourceRef, Vec<RouteRow>)], actual: bool) -> String {
    let tables = all.iter().filter(|(_, rows)| !rows.is_empty()).map(|(resource, rows)| {
        let heading = match all.len() {
            1 => String::new(),
            _ => format!("==> {}/{} <==\n", short(resource.kind), resource.name),
        };
        heading + &table(rows, actual)
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// What was sent. Without retries, it is what the client saw.
fn actual(row: &RouteRow) -> ActualStats {
    row.actual.unwrap_or(ActualStats { success_rate: row.http.success_rate, rps: row.http.rps })
}

fn table(rows: &[RouteRow], actual: bool) -> String {
    let rates: &[&str] = if actual {
        &["EFFECTIVE_SUCCESS", "EFFECTIVE_RPS", "ACTUAL_SUCCESS", "ACTUAL_RPS"]
    } else {
        &["SUCCESS", "RPS"]
    };
    let mut columns = vec![("ROUTE", Align::Left), ("SERVICE", Align::Left)];
    columns.extend(rates.iter().map(|name| (*name, Align::Right)));
    columns.extend(["LATENCY_P50", "LATENCY_P95", "LATENCY_P99"].map(|name| (name, Align::Right)));
    let mut table = Table::new(&columns);
    for row in rows {
        let [success, rps, p50, p95, p99] = format::http(Some(&row.http));
        let mut cells = vec![row.route.clone(), row.service.clone(), success, rps];
        if actual {
            let ActualStats { success_rate, rps } = self::actual(row);
            cells.extend([format::percent(success_rate), format::rps(rps)]);
        }
        cells.extend([p50, p95, p99]);
        table.row(cells);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use weft_api::viz::{HttpStats, LatencyMs, ResourceType};

    use super::*;

    fn all() -> Vec<(ResourceRef, Vec<RouteRow>)> {
        let latency = LatencyMs { p50: Some(5.0), p95: Some(9.0), p99: Some(10.0) };
        let row = |route: &str, requests, failures| RouteRow {
            route: route.to_owned(),
            service: "voting-svc".to_owned(),
            http: HttpStats::of(requests, failures, 60.0, latency),
            actual: Some(ActualStats { success_rate: Some(0.5), rps: requests / 30.0 }),
            spark: None,
        };
        let rows = vec![row("VoteDoughnut", 6.0, 6.0), row("[DEFAULT]", 60.0, 0.0)];
        vec![(ResourceRef::new("emojivoto", ResourceType::Deployment, "web"), rows)]
    }

    #[test]
    fn a_table_has_a_row_per_route() {
        assert_eq!(
            tables(&all(), false),
            "\
ROUTE          SERVICE      SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99
VoteDoughnut   voting-svc     0.00%   0.1rps           5ms           9ms          10ms
[DEFAULT]      voting-svc   100.00%   1.0rps           5ms           9ms          10ms
"
        );
    }

    #[test]
    fn a_wide_table_tells_retries_from_requests() {
        let text = tables(&all(), true);
        let heading: Vec<_> = text.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(heading[2..6], ["EFFECTIVE_SUCCESS", "EFFECTIVE_RPS", "ACTUAL_SUCCESS", "ACTUAL_RPS"]);
        let row: Vec<_> = text.lines().nth(2).unwrap_or_default().split_whitespace().collect();
        assert_eq!(row[2..6], ["100.00%", "1.0rps", "50.00%", "2.0rps"]);
    }

    #[test]
    fn without_retries_the_actual_figures_are_those_of_the_client() {
        let mut all = all();
        all[0].1[1].actual = None;
        let text = tables(&all, true);
        let row: Vec<_> = text.lines().nth(2).unwrap_or_default().split_whitespace().collect();
        assert_eq!(row[2..6], ["100.00%", "1.0rps", "100.00%", "1.0rps"]);
    }

    #[test]
    fn json_is_grouped_by_resource() {
        let value: serde_json::Value = serde_json::from_str(&json_text(&all()).unwrap()).unwrap();
        assert_eq!(value["deploy/web"][0]["route"], "VoteDoughnut");
        assert_eq!(value["deploy/web"][0]["success"], 0.0);
    }
}
