//! The tables of `run`, made from the proxies' metrics: each workload's golden metrics, the methods that fail, and the
//! connections: who talks to whom, how it is secured, how much it is.

mod histogram;
mod http_proof;
mod proof;
mod render;
mod stat;
mod worst;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::prom::Sample;

pub use self::http_proof::{prove_failures, prove_http};
pub use self::proof::{Proof, prove};
pub use self::render::{render, render_stats, render_worst};
pub use self::stat::{Stat, Window};
pub use self::worst::{Call, Worst, parse as parse_worst, worst};

/// The metrics of one node's proxy.
#[derive(Clone, Debug, Default)]
pub struct NodePage {
    /// The node.
    pub node: String,
    /// The samples of its metrics page.
    pub samples: Vec<Sample>,
}

/// Facts about a pod that are not in the metrics.
#[derive(Clone, Debug, Default)]
pub struct PodInfo {
    /// The node that it is on.
    pub node: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Its service account.
    pub service_account: String,
    /// The deployment that it says it belongs to, by the label linkerd.io/proxy-deployment.
    pub deployment: Option<String>,
}

/// Pods by `namespace/name`.
pub type Pods = BTreeMap<String, PodInfo>;

/// How a connection is secured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Secured {
    /// mTLS between two proxies.
    Mtls,
    /// It does not leave the node; the kernel knows both identities.
    SameNode,
    /// The applications' own TLS, which the mesh forwards.
    ByApplication,
    /// Not secured; the reason.
    Plaintext(String),
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The pod that opened the connections.
    pub source: String,
    /// Service and pod, or address.
    pub destination: String,
    /// The nodes of both.
    pub nodes: String,
    /// How it is secured.
    pub secured: Secured,
    /// Connections that are open.
    pub open: u64,
    /// Connections since the start.
    pub total: u64,
    /// Bytes from source to destination.
    pub sent: u64,
    /// Bytes from destination to source.
    pub received: u64,
    /// Connections that the destination's policy refused.
    pub refused: u64,
    /// The mean round trip time that the kernel measured.
    pub rtt: Option<Duration>,
}

/// The source of a connection that was not opened through the mesh: the server's proxy does not know its name.
const UNMESHED: &str = "(not meshed)";

/// Connections that a policy refused; the proxies count them under this name.
const DENIED: &str = "inbound_tcp_authz_deny_total";

/// All rows, in the order of their sources and destinations.
pub fn rows(pages: &[NodePage], pods: &Pods) -> Vec<Row> {
    let mut rows: BTreeMap<(String, String, Secured), Row> = BTreeMap::new();
    let mut rtts: BTreeMap<(String, String), (f64, f64)> = BTreeMap::new();
    for page in pages {
        for sample in &page.samples {
            let Some(ends) = Ends::of(sample, page, pods) else { continue };
            match sample.name.as_str() {
                "weft_tcp_rtt_seconds_sum" => {
                    rtts.entry((ends.source, ends.destination)).or_default().0 += sample.value;
                    continue;
                }
                "weft_tcp_rtt_seconds_count" => {
                    rtts.entry((ends.source, ends.destination)).or_default().1 += sample.value;
                    continue;
                }
                _ => {}
            }
            let secured = secured(sample);
            let row = rows
                .entry((ends.source.clone(), ends.destination.clone(), secured.clone()))
                .or_insert_with(|| Row {
                    source: ends.source,
                    destination: ends.destination,
                    nodes: ends.nodes,
                    secured,
                    open: 0,
                    total: 0,
                    sent: 0,
                    received: 0,
                    refused: 0,
                    rtt: None,
                });
            // Counters below 2^53 are exact in a float.
            let value = sample.value.max(0.0) as u64;
            match (sample.name.as_str(), ends.outbound) {
                ("tcp_open_connections", _) => row.open += value,
                (DENIED, _) => row.refused += value,
                ("tcp_open_total", _) => row.total += value,
                // The proxy writes to the destination and reads from the source.
                ("tcp_write_bytes_total", true) | ("tcp_read_bytes_total", false) => row.sent += value,
                _ => row.received += value,
            }
        }
    }
    rows.into_values()
        .map(|mut row| {
            row.rtt = rtts
                .get(&(row.source.clone(), row.destination.clone()))
                .filter(|(_, count)| *count > 0.0)
                .and_then(|(sum, count)| Duration::try_from_secs_f64(sum / count).ok());
            row
        })
        .collect()
}

struct Ends {
    source: String,
    destination: String,
    nodes: String,
    outbound: bool,
}

impl Ends {
    /// None: the sample is not about a connection from a source to a destination, or another sample counts it.
    fn of(sample: &Sample, page: &NodePage, pods: &Pods) -> Option<Self> {
        let rtt = sample.name.starts_with("weft_tcp_rtt_seconds_") && !sample.name.ends_with("_bucket");
        let transport = matches!(
            sample.name.as_str(),
            "tcp_open_total" | "tcp_open_connections" | "tcp_read_bytes_total" | "tcp_write_bytes_total"
        );
        let own = own(sample)?;
        match (sample.label("direction"), sample.label("peer")) {
            ("outbound", "dst") if transport => Some(Self::outbound(sample, page, pods, own)),
            ("outbound", _) if rtt => Some(Self::outbound(sample, page, pods, own)),
            ("inbound", peer) if (transport && peer == "src" || sample.name == DENIED) && !meshed(sample) => {
                Some(Self {
                    source: UNMESHED.to_owned(),
                    destination: own,
                    nodes: format!("? → {}", page.node),
                    outbound: false,
                })
            }
            _ => None,
        }
    }

    fn outbound(sample: &Sample, page: &NodePage, pods: &Pods, source: String) -> Self {
        let pod = destination_pod(sample, pods);
        let destination = match (&pod, sample.label("dst_service")) {
            (Some(pod), "") => pod.clone(),
            (Some(pod), service) => {
                let name = pod.split_once('/').map_or(pod.as_str(), |(_, name)| name);
                format!("{}/{service} ({name})", sample.label("dst_namespace"))
            }
            (None, "") => sample.label("target_addr").to_owned(),
            (None, service) => format!("{}/{service}", sample.label("dst_namespace")),
        };
        let nodes = match pod.and_then(|pod| pods.get(&pod)) {
            Some(info) if info.node == page.node => page.node.clone(),
            Some(info) => format!("{} → {}", page.node, info.node),
            None => format!("{} → outside", page.node),
        };
        Self { source, destination, nodes, outbound: true }
    }
}

/// The workload that a sample is about.
fn own(sample: &Sample) -> Option<String> {
    match (sample.label("namespace"), sample.label("pod")) {
        ("", _) | (_, "") => None,
        (namespace, pod) => Some(format!("{namespace}/{pod}")),
    }
}

/// The pod at the other end of an outbound connection, by its label or its address.
fn destination_pod(sample: &Sample, pods: &Pods) -> Option<String> {
    match (sample.label("dst_namespace"), sample.label("dst_pod")) {
        ("", _) | (_, "") => {}
        (namespace, pod) => return Some(format!("{namespace}/{pod}")),
    }
    let ip: IpAddr = sample.label("target_ip").parse().ok()?;
    pods.iter().find(|(_, info)| info.ips.contains(&ip)).map(|(name, _)| name.clone())
}

/// Whether the other end was a proxy of the mesh: then that proxy's outbound samples count the connection.
fn meshed(sample: &Sample) -> bool {
    matches!(sample.label("tls"), "true" | "local")
}

fn secured(sample: &Sample) -> Secured {
    match sample.label("tls") {
        "true" => Secured::Mtls,
        "local" => Secured::SameNode,
        "opaque" => Secured::ByApplication,
        other => match sample.label("no_tls_reason") {
            "" => Secured::Plaintext(other.to_owned()),
            reason => Secured::Plaintext(reason.to_owned()),
        },
    }
}
