//! What to know about a cluster after a failed test.

use super::Cluster;

/// The namespace of weft's own pods.
const WEFT: &str = "weft";
/// Each part is cut to its last lines, and each line to its first characters.
const LINES: usize = 40;
const COLUMNS: usize = 320;
/// Before a cluster that does not answer holds up the next test.
const LIMIT: &str = "--request-timeout=20s";
const CONTROL: &str = "linkerd.io/control-plane-component=control";
const PROXY: &str = "linkerd.io/control-plane-component=proxy";
/// Every pod: none has this label.
const ALL: &str = "!weft.dev/none";

/// First what belongs to the test: the pods, events and logs of its namespaces, and what weft's programs say about them.
/// Then nodes, all pods, weft's own pods and logs, and the ends of the cluster's logs.
pub(super) fn report(cluster: &Cluster, namespaces: &[String]) -> String {
    let mut report = String::new();
    for namespace in namespaces {
        let kinds = "pods,deployments,statefulsets,daemonsets,jobs,endpointslices";
        report += &part(cluster, &["-n", namespace, "get", kinds, "-o", "wide"]);
        report += &part(cluster, &["-n", namespace, "get", "events", "--sort-by=.lastTimestamp"]);
        let logs = ["logs", "-l", ALL, "--all-containers", "--prefix", "--ignore-errors", "--tail=10"];
        report +=
            &part(cluster, &[&["-n", namespace.as_str()], &logs[..], &["--max-log-requests=40"]].concat());
        for program in [CONTROL, PROXY] {
            report += &mentions(cluster, program, namespace);
        }
    }
    let queries: [&[&str]; 8] = [
        &["get", "nodes", "-o", "wide"],
        &["get", "pods", "-A", "-o", "wide"],
        &["get", "events", "-A", "--field-selector=type!=Normal", "--sort-by=.lastTimestamp"],
        &["-n", WEFT, "describe", "pods"],
        &["-n", WEFT, "logs", "-l", CONTROL, "--tail=30", "--prefix"],
        &["-n", WEFT, "logs", "-l", PROXY, "--tail=30", "--prefix"],
        // Of containers that were restarted.
        &["-n", WEFT, "logs", "-l", CONTROL, "--tail=30", "--prefix", "--previous", "--ignore-errors"],
        &["-n", WEFT, "logs", "-l", PROXY, "--tail=30", "--prefix", "--previous", "--ignore-errors"],
    ];
    for query in queries {
        report += &part(cluster, query);
    }
    let logs = cluster.logs().unwrap_or_else(|error| format!("{error:#}"));
    report + &logs
}

fn part(cluster: &Cluster, query: &[&str]) -> String {
    format!("--- kubectl {}\n{}\n", query.join(" "), end(&ask(cluster, query), |_| true))
}

/// What pods with this label say about a namespace.
fn mentions(cluster: &Cluster, selector: &str, namespace: &str) -> String {
    let text = ask(cluster, &["-n", WEFT, "logs", "-l", selector, "--tail=3000", "--prefix"]);
    let pods = format!("{namespace}/");
    format!("--- {selector} about {namespace}\n{}\n", end(&text, |line| line.contains(&pods)))
}

fn ask(cluster: &Cluster, query: &[&str]) -> String {
    cluster.kubectl(&[query, &[LIMIT]].concat()).unwrap_or_else(|error| format!("{error:#}"))
}

/// The last of the lines for which this holds, each with its beginning.
fn end(text: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| is_wanted(line)).collect();
    let cut = |line: &&str| line.chars().take(COLUMNS).collect::<String>();
    lines[lines.len().saturating_sub(LINES)..].iter().map(cut).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_report_is_bounded_and_has_the_last_lines() {
        let text: String = (0..1_000).map(|line| format!("{line} {}\n", "x".repeat(1_000))).collect();
        let shown = end(&text, |line| !line.starts_with("999"));
        assert_eq!(shown.lines().count(), LINES);
        assert!(shown.lines().all(|line| line.len() == COLUMNS));
        assert!(shown.lines().last().unwrap().starts_with("998 "), "{shown}");
    }
}
