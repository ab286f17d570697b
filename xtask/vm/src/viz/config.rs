//! Prometheus' configuration of a dev VM: the series and rules of the chart weft-viz, with targets from files.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};

const SERIES: &str = include_str!("../../../../deploy/charts/weft-viz/templates/_prometheus_series.tpl");
const RULES: &str = include_str!("../../../../deploy/charts/weft-viz/templates/_prometheus_rules.tpl");

/// A scrape job: its name, which is also the name of the file of its targets, and the template of its series.
struct Job {
    name: &'static str,
    series: &'static str,
    /// The target's figures say themselves which pod they are about.
    honor_labels: bool,
}

const JOBS: [Job; 3] = [
    Job { name: "weft-proxy", series: "weft-viz.prometheus.proxySeries", honor_labels: true },
    Job { name: "weft-control", series: "weft-viz.prometheus.controlSeries", honor_labels: false },
    Job { name: "weft-viz", series: "weft-viz.prometheus.vizSeries", honor_labels: false },
];

/// The names of the scrape jobs that read their targets from `NAME.json`.
pub(super) fn jobs() -> impl Iterator<Item = &'static str> {
    JOBS.iter().map(|job| job.name)
}

/// The text of prometheus.yml; `rules` and the targets are files in `folder`.
pub(super) fn prometheus_yml(folder: &Path, interval: Duration, own: u16) -> Result<String> {
    let interval = format!("{}ms", interval.as_millis());
    let mut text = format!(
        "global:\n  scrape_interval: {interval}\n  scrape_timeout: {interval}\n  evaluation_interval: {interval}\n\
         rule_files:\n  - {}\nscrape_configs:\n",
        folder.join("weft.rules.yml").display()
    );
    for job in &JOBS {
        let file = folder.join(format!("{}.json", job.name));
        text += &format!(
            "  - job_name: {}\n    honor_labels: {}\n    file_sd_configs:\n      - files: [{}]\n        \
             refresh_interval: 10s\n    metric_relabel_configs:\n{}",
            job.name,
            job.honor_labels,
            file.display(),
            indented(template(SERIES, job.series)?, 6)
        );
    }
    text += &format!(
        "  - job_name: prometheus\n    static_configs:\n      - targets: [\"127.0.0.1:{own}\"]\n    \
         metric_relabel_configs:\n{}",
        indented(template(SERIES, "weft-viz.prometheus.ownSeries")?, 6)
    );
    Ok(text)
}

/// The text of weft.rules.yml.
pub(super) fn rules_yml() -> Result<String> {
    template(RULES, "weft-viz.prometheus.rules").map(|rules| format!("{rules}\n"))
}

/// The text between `define` and `end`.
fn template(file: &'static str, name: &str) -> Result<&'static str> {
    let begin = format!("{{{{- define \"{name}\" -}}}}\n");
    let body = file.split_once(&begin).and_then(|(_, rest)| rest.split_once("\n{{- end -}}"));
    let body = body.map(|(body, _)| body).filter(|body| !body.contains("{{"));
    body.ok_or_else(|| Error::Manifests(format!("deploy/charts/weft-viz has no plain template {name}")))
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_has_the_charts_series() {
        let text = prometheus_yml(Path::new("/x"), Duration::from_secs(2), 9090).unwrap();
        for part in
            ["job_name: weft-proxy", "files: [/x/weft-control.json]", "response_latency_ms_", "2000ms"]
        {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        assert_eq!(text.matches("action: keep").count(), 4);
    }

    #[test]
    fn the_rules_are_the_charts() {
        assert!(rules_yml().unwrap().contains("record: workload:response_total:rate1m"));
    }

    #[test]
    fn a_template_that_is_missing_is_named() {
        let error = template(RULES, "weft-viz.none").unwrap_err().to_string();
        assert!(error.contains("weft-viz.none"), "{error}");
    }
}
