//! Finds connections between meshed pods that are not encrypted, though nobody wants that.

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::{opaque, pods::uses_host_network};
use crate::check::{
    cluster::{Cluster, full_name, none},
    owners::Owners,
};

const SKIPPED: &str = "config.linkerd.io/skip-inbound-ports";

/// A connection that a proxy has opened in plaintext to a pod.
struct Plain<'a> {
    from: String,
    to: String,
    port: &'a str,
    count: f64,
}

/// The proxies count the connections that they could not encrypt. Those to ports that the destination skips are meant to
/// be in plaintext, as is what skips the source's proxy, which counts nothing.
pub(super) async fn none_between_meshed_pods(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let default = default_ports(&cluster.values().await?)?;
    let meshed = cluster.pods().await?.iter().filter(|pod| owners.meshes(pod) && !uses_host_network(pod));
    let meshed: HashMap<String, &Pod> = meshed.map(|pod| (full_name(&pod.metadata), pod)).collect();
    let is_wanted = |plain: &Plain<'_>| {
        let skipped = meshed.get(&plain.to).map(|pod| owners.annotation(pod, SKIPPED).unwrap_or(&default));
        let port = plain.port.parse().ok();
        skipped.zip(port).is_some_and(|(skipped, port)| opaque::contains(skipped, port, ""))
    };
    let mut open: HashMap<String, f64> = HashMap::new();
    for (node, proxy) in cluster.proxies().await? {
        let metrics = proxy.metrics().map_err(|error| anyhow!("{node}: {error:#}"))?;
        for plain in metrics.lines().filter_map(|line| plain(line, cluster.data_plane())) {
            if meshed.contains_key(&plain.to) && !is_wanted(&plain) {
                let what = format!("{} to {} port {}", plain.from, plain.to, plain.port);
                *open.entry(what).or_default() += plain.count;
            }
        }
    }
    let mut problems: Vec<_> = open
        .into_iter()
        .filter(|(_, count)| *count > 0.0)
        .map(|(what, count)| format!("{what}: {count}"))
        .collect();
    problems.sort();
    none(
        &problems,
        "connections in plaintext between meshed pods are open, to ports that are not in skip-inbound-ports:",
    )
}

/// The ports that pods without an annotation skip.
fn default_ports(values: &Value) -> Result<String> {
    match &values["proxyInit"]["ignoreInboundPorts"] {
        Value::String(ports) => Ok(ports.clone()),
        Value::Number(port) => Ok(port.to_string()),
        _ => bail!(
            "the installation's values have no list of ports `proxyInit.ignoreInboundPorts`; run `weft upgrade`"
        ),
    }
}

/// Reads a line of metrics, if it is about connections in plaintext from a pod of the namespace.
fn plain<'a>(line: &'a str, namespace: Option<&str>) -> Option<Plain<'a>> {
    let (labels, value) =
        line.strip_prefix("tcp_open_connections").filter(|line| line.starts_with('{'))?.rsplit_once(' ')?;
    let label = |name: &str| label(labels, name);
    let is_plain = label("direction") == Some("outbound")
        && label("peer") == Some("dst")
        && label("tls") == Some("no_identity");
    if !is_plain || namespace.is_some_and(|namespace| label("namespace") != Some(namespace)) {
        return None;
    }
    let end = |namespace: &str, pod: &str| Some(format!("{}/{}", label(namespace)?, label(pod)?));
    Some(Plain {
        from: end("namespace", "pod")?,
        to: end("dst_namespace", "dst_pod")?,
        port: label("target_port").unwrap_or("?"),
        count: value.parse().unwrap_or(0.0),
    })
}

/// The value of a label in a text such as `{a="b",c="d"}`.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let start = labels.match_indices(name).find_map(|(at, _)| {
        let before = labels[..at].chars().next_back();
        let rest = labels[at + name.len()..].strip_prefix("=\"");
        rest.filter(|_| matches!(before, Some('{' | ',')))
    })?;
    start.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_by_its_whole_name() {
        let line = r#"{direction="outbound",dst_pod="b",pod="a",tls="no_identity"}"#;
        assert_eq!(label(line, "pod"), Some("a"));
        assert_eq!(label(line, "dst_pod"), Some("b"));
        assert_eq!(label(line, "direction"), Some("outbound"));
        assert_eq!(label(line, "peer"), None);
    }

    #[test]
    fn lists_of_ports_are_numbers_too() {
        let values = |ports: Value| serde_json::json!({ "proxyInit": { "ignoreInboundPorts": ports } });
        assert_eq!(default_ports(&values("4567,4568".into())).unwrap(), "4567,4568");
        assert_eq!(default_ports(&values(4567.into())).unwrap(), "4567");
        assert!(default_ports(&values(Value::Null)).unwrap_err().to_string().contains("weft upgrade"));
    }
}
