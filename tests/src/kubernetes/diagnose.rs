//! What to know about a cluster after a failed test.

use super::Cluster;

/// The namespace of weft's own pods.
const WEFT: &str = "weft";
/// Each part is cut to its last lines.
const LINES: usize = 60;

/// The states of nodes and pods, recent events, weft's pods and their logs, and the ends of the cluster's logs.
pub(super) fn report(cluster: &Cluster) -> String {
    let queries: [&[&str]; 6] = [
        &["get", "nodes", "-o", "wide"],
        &["get", "pods", "-A", "-o", "wide"],
        &["get", "events", "-A", "--sort-by=.lastTimestamp"],
        &["-n", WEFT, "describe", "pods"],
        &["-n", WEFT, "logs", "-l", "linkerd.io/control-plane-component=control", "--tail=40", "--prefix"],
        &["-n", WEFT, "logs", "-l", "linkerd.io/control-plane-component=proxy", "--tail=40", "--prefix"],
    ];
    let mut report = String::new();
    for query in queries {
        let text = cluster.kubectl(query).unwrap_or_else(|error| format!("{error:#}"));
        report += &format!("--- kubectl {}\n{}\n", query.join(" "), end(&text));
    }
    let logs = cluster.logs().unwrap_or_else(|error| format!("{error:#}"));
    report + &logs
}

fn end(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
