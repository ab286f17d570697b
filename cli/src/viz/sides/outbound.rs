//! `weft viz stat-outbound`: figures of what resources sent.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use weft_api::viz::{OutboundRow, ResourceRef, ResourceType, Source};

use super::{CONNECTIONS, FIGURES, SideArgs, connections, found, other};
use crate::{
    global::Global,
    terminal::print,
    viz::{
        access::Viz,
        format::{self, NONE},
        json::{count, name, text, with_figures},
        notes,
        options::{Output, VizOptions},
        resource::{Kind, Target},
        table::{Align, Table},
    },
};

/// Print figures of the requests that resources sent, by the service that was asked and by who answered
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # What the deployment web sent
  weft viz stat-outbound deploy/web -n emojivoto

  # All deployments of a namespace, as JSON
  weft viz stat-outbound deploy -n emojivoto -o json

`-o wide` adds connections and bytes.
TIMEOUTS and RETRIES are empty: weft has no timeouts and retries by route yet.")]
pub(crate) struct StatOutboundArgs {
    #[command(flatten)]
    side: SideArgs,
}

const DEFAULT: &str = "[DEFAULT]";

/// What a resource sent.
type Sent = (ResourceRef, Vec<OutboundRow>);

pub(crate) async fn outbound(global: &Global, options: &VizOptions, args: &StatOutboundArgs) -> Result<()> {
    let (window, output) = (args.side.window.window, args.side.output.output);
    let range = window.to_string();
    let targets = Target::parse_all(&args.side.resources)?;
    let is_service = |target: &Target| target.kind == Kind::One(ResourceType::Service);
    let (services, senders): (Vec<_>, Vec<_>) = targets.into_iter().partition(is_service);
    if !services.is_empty() {
        notes::say("Services send nothing; name workloads or pods, as in deploy/web.");
    }
    let viz = Viz::connect(global, options).await?;
    let mut all: Vec<Sent> = Vec::new();
    let mut source = Source::Prometheus;
    for resource in found(&viz, &senders).await? {
        let query = [
            ("window", range.as_str()),
            ("namespace", &resource.namespace),
            ("type", resource.kind.as_str()),
            ("name", &resource.name),
        ];
        let answer = viz.get::<Vec<OutboundRow>>("/api/outbound", &query).await?;
        if all.is_empty() {
            notes::about(&answer.meta);
            source = answer.meta.source;
        }
        all.push((resource, answer.data));
    }
    if output == Output::Json {
        return print(&text(&all.iter().map(object).collect())?);
    }
    let table = table(&all, output == Output::Wide);
    match (table.is_empty(), all.is_empty()) {
        (false, _) => print(&table.render())?,
        (true, false) => notes::say(&notes::no_traffic(Some(source), window, "requests sent")),
        (true, true) => {}
    }
    Ok(())
}

fn table(all: &[Sent], wide: bool) -> Table {
    let left = ["NAME", "SERVICE", "ROUTE", "TYPE", "BACKEND"].map(|name| (name, Align::Left));
    let mut columns = left.to_vec();
    columns.extend(FIGURES);
    columns.extend(["TIMEOUTS", "RETRIES"].map(|name| (name, Align::Right)));
    columns.extend(CONNECTIONS.into_iter().filter(|_| wide));
    let mut table = Table::new(&columns);
    for (resource, rows) in all {
        for row in rows {
            let end = |end: &Option<ResourceRef>| {
                end.as_ref().map_or_else(|| NONE.to_owned(), |end| other(end, resource))
            };
            let none = || NONE.to_owned();
            let mut cells =
                vec![resource.name.clone(), end(&row.service), DEFAULT.to_owned(), none(), end(&row.backend)];
            cells.extend(format::http(Some(&row.http)));
            cells.extend([none(), none()]);
            if wide {
                cells.extend(connections(row.tcp));
            }
            table.row(cells);
        }
    }
    table
}

fn object((resource, rows): &Sent) -> Value {
    let destination = |row: &OutboundRow| {
        let object = json!({
            "service": row.service.as_ref().map(|service| &service.name),
            "service_namespace": row.service.as_ref().map(|service| &service.namespace),
            "backend": row.backend.as_ref().map(name),
            "backend_namespace": row.backend.as_ref().map(|backend| &backend.namespace),
            "route": DEFAULT,
            "tcp_open_connections": count(row.tcp.open_connections),
        });
        with_figures(object, Some(&row.http))
    };
    json!({
        "namespace": resource.namespace,
        "kind": resource.kind,
        "name": resource.name,
        "destinations": rows.iter().map(destination).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use weft_api::viz::{HttpStats, LatencyMs, TcpStats};

    use super::*;

    fn sent() -> Sent {
        let latency = LatencyMs { p50: Some(1.0), p95: Some(2.0), p99: Some(3.0) };
        let row = |service, backend, failures| OutboundRow {
            service,
            backend,
            http: HttpStats::of(60.0, failures, 60.0, latency),
            tcp: TcpStats { open_connections: 2.0, ..TcpStats::default() },
        };
        let deploy =
            |namespace: &str, name: &str| Some(ResourceRef::new(namespace, ResourceType::Deployment, name));
        let voting = Some(ResourceRef::new("emojivoto", ResourceType::Service, "voting-svc"));
        let rows =
            vec![row(voting, deploy("emojivoto", "voting"), 9.0), row(None, deploy("shared", "emoji"), 0.0)];
        (ResourceRef::new("emojivoto", ResourceType::Deployment, "web"), rows)
    }

    #[test]
    fn what_was_sent_is_shown_by_service_and_backend() {
        assert_eq!(
            table(&[sent()], false).render(),
            "\
NAME   SERVICE          ROUTE       TYPE   BACKEND               SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TIMEOUTS   RETRIES
web    svc/voting-svc   [DEFAULT]   -      deploy/voting          85.00%   1.0rps           1ms           2ms           3ms          -         -
web    -                [DEFAULT]   -      shared/deploy/emoji   100.00%   1.0rps           1ms           2ms           3ms          -         -
"
        );
    }

    #[test]
    fn a_wide_table_has_connections_and_bytes() {
        let text = table(&[sent()], true).render();
        let heading = text.lines().next().unwrap_or_default();
        assert!(heading.ends_with("RETRIES   TCP_CONN   READ_BYTES/SEC   WRITE_BYTES/SEC"), "{heading}");
    }

    #[test]
    fn json_names_both_the_service_and_the_backend() {
        let object = object(&sent());
        let first = &object["destinations"][0];
        assert_eq!((&first["service"], &first["backend"]), (&json!("voting-svc"), &json!("deploy/voting")));
        assert_eq!(first["tcp_open_connections"], json!(2));
        assert_eq!(object["destinations"][1]["service"], Value::Null);
    }
}
