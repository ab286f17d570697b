//! PromQL for the figures that several dashboards show.

/// The labels of a workload's owner. The proxies' label `job` is `k8s_job` in Prometheus.
pub(super) const OWNERS: &str =
    "deployment, statefulset, daemonset, replicaset, replicationcontroller, cronjob, k8s_job";
/// A workload's name, in a legend: one of these labels has a value.
pub(super) const OWNER: &str = "{{deployment}}{{statefulset}}{{daemonset}}{{replicaset}}{{replicationcontroller}}\
                                {{cronjob}}{{k8s_job}}";
/// The same of the other end.
pub(super) const DST_OWNERS: &str = "dst_deployment, dst_statefulset, dst_daemonset, dst_replicaset, \
                                     dst_replicationcontroller, dst_cronjob, dst_job";
pub(super) const DST_OWNER: &str = "{{dst_deployment}}{{dst_statefulset}}{{dst_daemonset}}{{dst_replicaset}}\
                                    {{dst_replicationcontroller}}{{dst_cronjob}}{{dst_job}}";

/// The part of the requests that `filter` selects that did not fail. `by` may be empty.
pub(super) fn success_rate(filter: &str, by: &str) -> String {
    let sum =
        |more: &str| format!("sum by ({by}) (rate(response_total{{{filter}{more}}}[$__rate_interval]))");
    ratio(&sum(", classification=\"failure\""), &sum(""))
}

/// The same from the recorded rates of workloads, which are cheaper.
pub(super) fn recorded_success_rate(filter: &str, by: &str) -> String {
    let sum = |more: &str| format!("sum by ({by}) (workload:response_total:rate1m{{{filter}{more}}})");
    ratio(&sum(", classification=\"failure\""), &sum(""))
}

/// Where nothing has failed yet, there is no series of failures.
fn ratio(failures: &str, all: &str) -> String {
    format!("1 - ({failures} or 0 * {all}) / ({all} > 0)")
}

pub(super) fn requests(filter: &str, by: &str) -> String {
    format!("sum by ({by}) (rate(response_total{{{filter}}}[$__rate_interval]))")
}

/// The same from the recorded rates.
pub(super) fn recorded_requests(filter: &str, by: &str) -> String {
    format!("sum by ({by}) (workload:response_total:rate1m{{{filter}}})")
}

/// A quantile of the latency, in milliseconds.
pub(super) fn latency(quantile: f64, filter: &str, by: &str) -> String {
    let by = and_le(by);
    format!(
        "histogram_quantile({quantile}, sum by ({by}) (rate(response_latency_ms_bucket{{{filter}}}[$__rate_interval])))"
    )
}

/// The same from the recorded rates.
pub(super) fn recorded_latency(quantile: f64, filter: &str, by: &str) -> String {
    let by = and_le(by);
    format!(
        "histogram_quantile({quantile}, sum by ({by}) (workload:response_latency_ms_bucket:rate1m{{{filter}}}))"
    )
}

fn and_le(by: &str) -> String {
    if by.is_empty() { "le".to_owned() } else { format!("{by}, le") }
}

/// The rate of any counter.
pub(super) fn rate(counter: &str, filter: &str, by: &str) -> String {
    format!("sum by ({by}) (rate({counter}{{{filter}}}[$__rate_interval]))")
}

/// The same, and 0 while the counter does not exist.
pub(super) fn rate_or_zero(counter: &str, filter: &str) -> String {
    format!("sum(rate({counter}{{{filter}}}[$__rate_interval])) or vector(0)")
}
