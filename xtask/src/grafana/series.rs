//! Compares the series that the chart keeps with the documentation and the dashboards.

use std::{collections::BTreeSet, fs};

use crate::host;

fn read(path: &str) -> String {
    fs::read_to_string(host::root().join(path)).unwrap()
}

/// The names between `regex: "\` and the next quotation mark, by scrape job.
fn kept() -> BTreeSet<(String, String)> {
    let jobs = [
        ("proxySeries", "weft-proxy"),
        ("controlSeries", "weft-control"),
        ("vizSeries", "weft-viz"),
        ("ownSeries", "prometheus"),
        ("containerSeries", "kubernetes-nodes-cadvisor"),
    ];
    let text = read("deploy/charts/weft-viz/templates/_prometheus_series.tpl");
    let mut all = BTreeSet::new();
    for (template, job) in jobs {
        let (_, rest) = text.split_once(&format!("weft-viz.prometheus.{template}\"")).unwrap();
        let (_, rest) = rest.split_once("regex: \"\\\n").unwrap();
        let (names, _) = rest.split_once('"').unwrap();
        for name in names.split("|\\\n") {
            all.insert((job.to_owned(), name.trim().to_owned()));
        }
    }
    all
}

#[test]
fn every_kept_series_is_documented_and_no_other_one() {
    let docs = read("docs/prometheus.md");
    let (_, table) = docs.split_once("| series | job | read by |\n|---|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let documented: BTreeSet<_> = rows
        .map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).skip(1);
            let (series, job) = (cells.next().unwrap(), cells.next().unwrap());
            (job, series)
        })
        .collect();
    assert_eq!(documented, kept());
}

#[test]
fn every_series_of_the_dashboards_is_kept() {
    let names: BTreeSet<String> = kept().into_iter().map(|(_, name)| name).collect();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    for dashboard in super::dashboards() {
        for panel in dashboard.rows.iter().flat_map(|row| &row.panels) {
            for (query, _) in &panel.targets {
                // Names of metrics have an underscore, or are `up`. Labels are in braces or after `by`.
                let mut bare = String::new();
                let mut depth = 0;
                for c in query.chars() {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    bare.push(if depth > 0 || c == '}' { ' ' } else { c });
                }
                while let Some((before, rest)) = bare.split_once(" by (") {
                    let (_, after) = rest.split_once(')').unwrap();
                    bare = format!("{before} {after}");
                }
                let words = bare.split(|c: char| !is_part(c));
                for word in words.filter(|word| word.contains('_') && !word.starts_with("__")) {
                    let is_function = ["histogram_quantile", "sort_desc"].contains(&word);
                    let is_rule = word.starts_with("workload:");
                    assert!(
                        is_function || is_rule || names.contains(word),
                        "{}: {word} is not kept: {query}",
                        panel.title
                    );
                }
            }
        }
    }
}
