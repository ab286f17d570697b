//! Kubernetes manifests of a description.

use std::collections::BTreeMap;

use super::describe::{NAMESPACE, PodSpec, ServiceSpec};

pub(super) fn namespace() -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n")
}

/// With its service account, unless it uses that of another pod.
pub(super) fn pod(spec: &PodSpec) -> String {
    let PodSpec { name, app, account, node, labels, annotations, host_network, ports, ip, probes } = spec;
    let annotations = block("annotations", annotations);
    let labels: String = labels.iter().map(|(key, value)| format!("    {key}: {value:?}\n")).collect();
    let ports: String = ports
        .iter()
        .map(|port| format!("        - name: p{port}\n          containerPort: {port}\n"))
        .collect();
    let ports = if ports.is_empty() { ports } else { format!("      ports:\n{ports}") };
    let probes: String =
        probes.iter().map(|(kind, check)| format!("      {kind}:\n        {check}\n")).collect();
    let status = ip.map(|ip| format!("status:\n  podIP: {ip}\n")).unwrap_or_default();
    let own_account = if name == account {
        format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\n---\n"
        )
    } else {
        String::new()
    };
    format!(
        "{own_account}apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {NAMESPACE}
  labels:
    app: {app}
{labels}{annotations}spec:
  nodeName: {node}
  serviceAccountName: {account}
  hostNetwork: {host_network}
  containers:
    - name: main
      image: scenario
{ports}{probes}{status}"
    )
}

/// A service of both address families.
pub(super) fn service(spec: &ServiceSpec) -> String {
    let ServiceSpec { name, app, ports, annotations, headless } = spec;
    let annotations = block("annotations", annotations);
    let ports: String = ports
        .iter()
        .map(|(port, target)| {
            format!("    - name: p{port}\n      port: {port}\n      targetPort: {target}\n")
        })
        .collect();
    let cluster_ip = if *headless { "  clusterIP: None\n" } else { "" };
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {NAMESPACE}
{annotations}spec:
{cluster_ip}  ipFamilyPolicy: PreferDualStack
  selector:
    app: {app}
  ports:
{ports}"
    )
}

/// A `policy.linkerd.io` Server for one port of the pods of an `app`.
pub fn server(name: &str, app: &str, port: u16, access_policy: &str) -> String {
    format!(
        "apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  podSelector:
    matchLabels:
      app: {app}
  port: {port}
  accessPolicy: {access_policy}
"
    )
}

fn block(key: &str, entries: &BTreeMap<String, String>) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let lines: String = entries.iter().map(|(key, value)| format!("    {key}: {value:?}\n")).collect();
    format!("  {key}:\n{lines}")
}
