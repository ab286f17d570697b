//! Proves from both ends' metrics that traffic is secured: mTLS between nodes, and none on the wire within a node.

use std::collections::BTreeMap;

use super::{NodePage, Pods, destination_pod, own};
use crate::prom::Sample;

/// The two ends' counters are read one after the other, and one may count TLS's framing: they may differ by a
/// quarter and this many bytes.
const SLACK: f64 = 65536.0;

/// The values of the label `tls` that are proven, and what they mean.
pub(super) const FORMS: [(&str, &str); 2] = [("true", "cross-node, mTLS"), ("local", "same-node")];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// One line per pair that is proven.
    pub found: Vec<String>,
    /// Empty: all of it is proven.
    pub missing: Vec<String>,
}

impl Proof {
    /// Both.
    pub fn and(mut self, other: Self) -> Self {
        self.found.extend(other.found);
        self.missing.extend(other.missing);
        self
    }
}

/// One direction of traffic between two pods, as one proxy counted it.
#[derive(Clone, Debug, Default)]
struct Flow {
    bytes: f64,
    /// The other end's identity.
    peer_ids: Vec<String>,
}

/// Looks for both forms. A pair counts only if both proxies agree: the source's names the server's identity, the
/// destination's names the client's, and they counted about the same number of bytes.
pub fn prove(pages: &[NodePage], pods: &Pods) -> Proof {
    let mut proof = Proof::default();
    for (tls, form) in FORMS {
        let (found, reasons) = pairs(pages, pods, tls);
        if found.is_empty() {
            let why = match reasons.as_slice() {
                [] => format!("no outbound connection with tls=\"{tls}\" has carried bytes"),
                reasons => reasons.join("; "),
            };
            proof.missing.push(format!("{form}: {why}"));
        }
        proof.found.extend(found.into_iter().map(|line| format!("{form}: {line}")));
    }
    proof
}

fn pairs(pages: &[NodePage], pods: &Pods, tls: &str) -> (Vec<String>, Vec<String>) {
    // Keyed by the source's identity and the destination's pod, which both ends know.
    let mut outbound: BTreeMap<(String, String), Flow> = BTreeMap::new();
    let mut sources: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut inbound: BTreeMap<(String, String), Flow> = BTreeMap::new();
    for sample in pages.iter().flat_map(|page| &page.samples).filter(|sample| sample.label("tls") == tls) {
        let Some(own) = own(sample) else { continue };
        match (sample.name.as_str(), sample.label("direction"), sample.label("peer")) {
            ("tcp_write_bytes_total", "outbound", "dst") => {
                let Some(source) = pods.get(&own).map(|info| identity(&own, &info.service_account)) else {
                    continue;
                };
                let Some(destination) = destination_pod(sample, pods) else { continue };
                let key = (source, destination);
                add(outbound.entry(key.clone()).or_default(), sample, "server_id");
                let names = sources.entry(key).or_default();
                if !names.contains(&own) {
                    names.push(own);
                }
            }
            ("tcp_read_bytes_total", "inbound", "src") => {
                let client = sample.label("client_id");
                let prefix = client.split(".serviceaccount.").next().unwrap_or_default().to_owned();
                add(inbound.entry((prefix, own)).or_default(), sample, "client_id");
            }
            _ => {}
        }
    }
    let (mut found, mut reasons) = (Vec::new(), Vec::new());
    for ((source, destination), client) in outbound.into_iter().filter(|(_, flow)| flow.bytes > 0.0) {
        let names =
            sources.get(&(source.clone(), destination.clone())).map(|n| n.join(" + ")).unwrap_or_default();
        let pair = format!("{names} -> {destination}");
        let server = inbound.get(&(source.clone(), destination.clone()));
        match check(pods, &destination, &client, server, tls) {
            Ok(line) => found.push(format!("{pair}: {line}")),
            Err(reason) => reasons.push(format!("{pair}: {reason}")),
        }
    }
    (found, reasons)
}

fn check(
    pods: &Pods,
    destination: &str,
    client: &Flow,
    server: Option<&Flow>,
    tls: &str,
) -> Result<String, String> {
    let expected = pods
        .get(destination)
        .map(|info| identity(destination, &info.service_account))
        .ok_or("the destination is not a pod of this cluster")?;
    if client.peer_ids.is_empty() || !client.peer_ids.iter().all(|id| same_account(id, &expected)) {
        return Err(format!("the source's proxy names server_id {:?}, not {expected}.…", client.peer_ids));
    }
    let server = server
        .filter(|flow| flow.bytes > 0.0)
        .ok_or_else(|| format!("the destination's proxy has no inbound bytes with tls=\"{tls}\" from it"))?;
    let (sent, received) = (client.bytes, server.bytes);
    if (sent - received).abs() > sent.max(received) / 4.0 + SLACK {
        return Err(format!("{sent} bytes were sent but {received} arrived"));
    }
    Ok(format!(
        "server_id={} client_id={} sent={sent} arrived={received} bytes",
        client.peer_ids[0],
        server.peer_ids.first().map_or("", String::as_str)
    ))
}

fn add(flow: &mut Flow, sample: &Sample, id: &str) {
    flow.bytes += sample.value;
    let id = sample.label(id).to_owned();
    if sample.value > 0.0 && !flow.peer_ids.contains(&id) {
        flow.peer_ids.push(id);
    }
}

/// `SA.NS`, the part of an identity before `.serviceaccount.identity.…`.
pub(super) fn identity(pod: &str, service_account: &str) -> String {
    let namespace = pod.split_once('/').map_or("default", |(namespace, _)| namespace);
    format!("{service_account}.{namespace}")
}

/// Whether an identity is that of `SA.NS`.
pub(super) fn same_account(id: &str, account: &str) -> bool {
    id.split(".serviceaccount.").next() == Some(account)
}
