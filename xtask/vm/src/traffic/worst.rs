//! The methods and paths that fail most, from the proxies' table of calls.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Pods, Window};

/// Rows that are shown.
const MAX_ROWS: usize = 8;
/// Longer paths are cut.
const MAX_PATH: usize = 80;

/// An entry of `/http/worst.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Call {
    namespace: String,
    pod: String,
    direction: String,
    method: String,
    path: String,
    requests: u64,
    failures: u64,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Namespace and deployment, or pod.
    pub workload: String,
    /// As in `POST`.
    pub method: String,
    /// Without characters that a terminal would obey.
    pub path: String,
    /// All requests.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
}

/// Reads the page. Other text than expected is an empty table.
pub fn parse(text: &str) -> Vec<Call> {
    serde_json::from_str(text).unwrap_or_default()
}

/// What fails at its server, most failures first.
pub fn worst(calls: &[Call], window: &Window, pods: &Pods) -> Vec<Worst> {
    let mut sums: BTreeMap<(String, String, String), (u64, u64)> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.direction == "inbound" && call.failures > 0) {
        let workload = window.owner(&format!("{}/{}", call.namespace, call.pod), pods);
        let sum = sums.entry((workload, printable(&call.method), printable(&call.path))).or_default();
        sum.0 = sum.0.saturating_add(call.requests);
        sum.1 = sum.1.saturating_add(call.failures);
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|((workload, method, path), (requests, failures))| Worst {
            workload,
            method,
            path,
            requests,
            failures,
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.failures));
    rows.truncate(MAX_ROWS);
    rows
}

/// A client chooses its method and path.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_PATH).collect()
}

#[cfg(test)]
mod tests {
    use super::super::PodInfo;
    use super::*;

    fn page(pod: &str, direction: &str, path: &str, requests: u64, failures: u64) -> String {
        format!(
            r#"{{"namespace":"emojivoto","pod":"{pod}","direction":"{direction}","method":"POST","path":"{path}","requests":{requests},"failures":{failures},"later":1}}"#
        )
    }

    #[test]
    fn the_failing_method_is_named() {
        let doughnut = "/emojivoto.v1.VotingService/VoteDoughnut";
        let text = format!(
            "[{},{},{},{},{}]",
            page("voting-a", "inbound", doughnut, 20, 18),
            page("voting-b", "inbound", doughnut, 10, 10),
            page("web", "outbound", doughnut, 30, 28),
            page("voting-a", "inbound", "/emojivoto.v1.VotingService/VotePoop", 50, 0),
            page("web", "inbound", "/api/\\u001b[2Jvote", 100, 28),
        );
        let pod = PodInfo { deployment: Some("voting".to_owned()), ..PodInfo::default() };
        let pods = ["voting-a", "voting-b"].map(|name| (format!("emojivoto/{name}"), pod.clone())).into();
        let rows = worst(&parse(&text), &Window::default(), &pods);
        let [first, second] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((first.workload.as_str(), first.path.as_str()), ("emojivoto/voting", doughnut));
        assert_eq!((first.requests, first.failures), (30, 28));
        assert_eq!((second.workload.as_str(), second.path.as_str()), ("emojivoto/web", "/api/?[2Jvote"));
    }

    #[test]
    fn other_pages_are_no_table() {
        assert_eq!(parse("not found"), []);
        assert_eq!(parse(r#"[{"pod":"x"}]"#), []);
    }
}
