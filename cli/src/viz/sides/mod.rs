//! `weft viz stat-inbound` and `stat-outbound`: figures of what resources received and sent.

mod inbound;
mod outbound;

use anyhow::Result;
use clap::Args;
use weft_api::viz::{ResourceRef, TcpStats};

pub(crate) use self::{
    inbound::{StatInboundArgs, inbound},
    outbound::{StatOutboundArgs, outbound},
};
use super::{
    access::Viz,
    format, notes,
    options::{OutputOption, WindowOption},
    resource::{Target, short},
    selector::resources,
    table::Align,
};

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
/// Of wide tables.
const CONNECTIONS: [(&str, Align); 3] =
    [("TCP_CONN", Align::Right), ("READ_BYTES/SEC", Align::Right), ("WRITE_BYTES/SEC", Align::Right)];

fn connections(tcp: TcpStats) -> [String; 3] {
    [
        format::count(tcp.open_connections),
        format::bytes_per_second(tcp.read_bytes_per_second),
        format::bytes_per_second(tcp.write_bytes_per_second),
    ]
}

/// The resources that are named. Says so if there are none of a type.
async fn found(viz: &Viz, targets: &[Target]) -> Result<Vec<ResourceRef>> {
    let mut found = Vec::new();
    for target in targets {
        let resources = resources(viz, &viz.namespace, target, None).await?;
        if resources.is_empty() {
            notes::say(&notes::no_such(viz, Some(&viz.namespace), target.plural()).await?);
        }
        found.extend(resources);
    }
    Ok(found)
}

/// The other end, with its namespace if that is another.
fn other(end: &ResourceRef, of: &ResourceRef) -> String {
    let name = format!("{}/{}", short(end.kind), end.name);
    if end.namespace == of.namespace { name } else { format!("{}/{name}", end.namespace) }
}
