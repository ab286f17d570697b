//! Tells the control plane what the cluster assigned, by manifests merged onto the user's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::desired::ServiceKey;
use crate::error::{Error, Result};
use crate::layout::PodKey;

/// The facts about a running pod that are not in its manifest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodFacts {
    /// Tells it from predecessors of the same name.
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) node_ip: IpAddr,
    pub(crate) ips: Vec<IpAddr>,
    /// Running, Succeeded or Failed.
    pub(crate) phase: &'static str,
    /// Whether its manifest has conditions.
    pub(crate) has_conditions: bool,
}

/// The overlay as YAML documents.
pub(crate) fn text(
    pods: &BTreeMap<PodKey, PodFacts>,
    services: &BTreeMap<ServiceKey, Vec<IpAddr>>,
) -> String {
    let mut text = String::from("# Addresses and nodes that weft-vm assigned; weft-control reads this.\n");
    let documents = services
        .iter()
        .map(|(key, ips)| service(key, ips))
        .chain(pods.iter().map(|(key, facts)| pod(key, facts)));
    for document in documents {
        // JSON is YAML. Writing to a String cannot fail.
        let _ = writeln!(text, "---\n{document:#}");
    }
    text
}

/// Replaces the file in one step.
pub(crate) fn write(directory: &Path, text: &str) -> Result<()> {
    // A hidden name, so that the half-written file is not read as a manifest.
    let (new, path) = (directory.join(".vm.yaml.new"), directory.join("vm.yaml"));
    fs::write(&new, text).map_err(Error::io("write", &new))?;
    fs::rename(&new, &path).map_err(Error::io("rename to", &path))
}

fn service(key: &ServiceKey, ips: &[IpAddr]) -> Value {
    let families: Vec<_> = ips.iter().map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" }).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": key.0, "name": key.1 },
        "spec": { "clusterIP": ips.first(), "clusterIPs": ips, "ipFamilies": families },
    })
}

fn pod(key: &PodKey, facts: &PodFacts) -> Value {
    let ips: Vec<_> = facts.ips.iter().map(|ip| json!({ "ip": ip })).collect();
    let mut status = json!({
        "phase": facts.phase,
        "hostIP": facts.node_ip,
        "podIP": facts.ips.first(),
        "podIPs": ips,
    });
    if !facts.has_conditions {
        let ready = if facts.phase == "Running" { "True" } else { "False" };
        status["conditions"] = json!([{ "type": "Ready", "status": ready }]);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "namespace": key.namespace, "name": key.name, "uid": facts.uid },
        "spec": { "nodeName": facts.node },
        "status": status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_reads_what_is_written() {
        let facts = PodFacts {
            uid: "1".into(),
            node: "a".into(),
            node_ip: "10.244.1.1".parse().unwrap(),
            ips: vec!["10.244.1.2".parse().unwrap(), "fd00:10:244:1::2".parse().unwrap()],
            phase: "Running",
            has_conditions: false,
        };
        let text = text(
            &BTreeMap::from([(PodKey::new("demo", "web"), facts)]),
            &BTreeMap::from([(("demo".into(), "web".into()), vec!["10.96.0.1".parse().unwrap()])]),
        );
        let directory = std::env::temp_dir().join(format!("weft-vm-overlay-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        write(&directory, &text).unwrap();
        let loaded = weft_control::manifests::load(std::slice::from_ref(&directory));
        fs::remove_dir_all(&directory).unwrap();
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        assert_eq!(loaded.documents.len(), 2);
    }
}
