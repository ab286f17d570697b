//! The rules of Grafana's dashboard-linter, checked in the files without it. `.lint` names those that do not apply.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use super::{dashboards, folder};

/// What a rule finds wrong in a dashboard.
type Rule = fn(&Value) -> Vec<String>;

/// All rules, by the linter's names. Those for Loki are left out: the only data source is a Prometheus.
const RULES: [(&str, Rule); 15] = [
    ("template-datasource-rule", data_source_is_chosen),
    ("template-job-rule", |dashboard| has_variable(dashboard, "job")),
    ("template-instance-rule", |dashboard| has_variable(dashboard, "instance")),
    ("template-label-promql-rule", values_come_from_labels),
    ("template-on-time-change-reload-rule", values_follow_the_time_range),
    ("panel-datasource-rule", panels_use_the_chosen_source),
    ("panel-title-description-rule", panels_are_explained),
    ("panel-units-rule", panels_have_units),
    ("panel-no-targets-rule", panels_ask_something),
    ("target-promql-rule", queries_are_complete),
    ("target-rate-interval-rule", rates_are_over_grafanas_interval),
    ("target-job-rule", |dashboard| queries_filter(dashboard, "job")),
    ("target-instance-rule", |dashboard| queries_filter(dashboard, "instance")),
    ("target-counter-agg-rule", counters_are_rates),
    ("uneditable-dashboard", |dashboard| wrong(dashboard["editable"] != false, "it can be edited")),
];

/// The units of Grafana that the dashboards have. The linter's list is much longer.
const UNITS: [&str; 8] = ["Bps", "bytes", "cps", "ms", "percentunit", "reqps", "s", "short"];

/// The reasons for the rules that do not apply.
fn exclusions() -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder().join(".lint")).unwrap();
    let (_, rules) = text.split_once("\nexclusions:\n").unwrap();
    let mut found = BTreeMap::new();
    let mut rule = "";
    for line in rules.lines() {
        match line.strip_prefix("    reason: ") {
            Some(reason) => {
                found.insert(rule.to_owned(), reason.to_owned());
            }
            None => rule = line.trim().strip_suffix(':').unwrap_or_else(|| panic!("{line:?} is no rule")),
        }
    }
    found
}

/// What a rule finds in all dashboards.
fn findings(rule: Rule) -> Vec<String> {
    let of = |dashboard: super::Dashboard| {
        let found = rule(&dashboard.json());
        found.into_iter().map(move |text| format!("{}: {text}", dashboard.name)).collect::<Vec<_>>()
    };
    dashboards().into_iter().flat_map(of).collect()
}

#[test]
fn the_dashboards_keep_the_rules_of_grafanas_linter() {
    let excluded = exclusions();
    for (name, rule) in RULES.iter().filter(|(name, _)| !excluded.contains_key(*name)) {
        assert_eq!(findings(*rule), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_excluded_rule_has_a_reason_and_would_find_something() {
    let excluded = exclusions();
    assert!(!excluded.is_empty());
    for (name, reason) in excluded {
        let known = RULES.iter().find(|(known, _)| *known == name);
        let (_, rule) = known.unwrap_or_else(|| panic!("the linter has no rule {name}"));
        assert!(reason.ends_with('.'), "{name}: a reason is a sentence");
        assert!(!findings(*rule).is_empty(), "{name} finds nothing: its exclusion is not needed any more");
    }
}

#[test]
fn the_rules_find_what_they_are_there_for() {
    let panel = |expression: &str| serde_json::json!({"panels": [{"type": "stat", "title": "t", "targets": [{"expr": expression}]}]});
    for (rule, bad, good) in [
        (counters_are_rates as Rule, "sum(a_total{b=\"c\"})", "rate(a_total{b=\"c\"}[$__rate_interval])"),
        (counters_are_rates, "max_over_time(a_total[5m])", "increase(a_total[5m])"),
        (rates_are_over_grafanas_interval, "rate(a_total[5m])", "rate(a_total[$__rate_interval])"),
        (rates_are_over_grafanas_interval, "sum(irate(a_total{b=\"c\"}[1m]))", "max_over_time(a[1m])"),
        (queries_are_complete, "sum(a", "sum(a{b=\"(\"})"),
        (queries_are_complete, "", "a"),
    ] {
        assert_eq!(rule(&panel(bad)).len(), 1, "{bad}");
        assert_eq!(rule(&panel(good)), Vec::<String>::new(), "{good}");
    }
    assert_eq!(panels_have_units(&panel("a")).len(), 1);
    assert_eq!(panels_are_explained(&panel("a")).len(), 1);
    assert!(!panels_use_the_chosen_source(&panel("a")).is_empty());
}

fn wrong(is_wrong: bool, text: impl Into<String>) -> Vec<String> {
    is_wrong.then(|| text.into()).into_iter().collect()
}

fn variables(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["templating"]["list"].as_array().into_iter().flatten()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().into_iter().flatten().filter(|panel| panel["type"] != "row")
}

/// The panels of which `is_wrong` says so.
fn bad_panels(dashboard: &Value, text: &str, is_wrong: impl Fn(&Value) -> bool) -> Vec<String> {
    panels(dashboard)
        .filter(|panel| is_wrong(panel))
        .map(|panel| format!("{} {text}", panel["title"]))
        .collect()
}

/// The queries of which `is_wrong` says so.
fn bad_queries(dashboard: &Value, text: &str, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let targets = panels(dashboard).flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = targets.map(|target| target["expr"].as_str().unwrap_or_default());
    queries.filter(|query| is_wrong(query)).map(|query| format!("{query:?} {text}")).collect()
}

fn data_source_is_chosen(dashboard: &Value) -> Vec<String> {
    let sources: Vec<_> = variables(dashboard).filter(|variable| variable["type"] == "datasource").collect();
    let is_named = |source: &&&Value| {
        source["name"] == "datasource" && source["label"] == "Data source" && source["query"] == "prometheus"
    };
    let count = sources.iter().filter(is_named).count();
    wrong(
        (sources.len(), count) != (1, 1),
        "the data source is no variable `datasource`, labelled `Data source`",
    )
}

fn has_variable(dashboard: &Value, name: &str) -> Vec<String> {
    wrong(
        variables(dashboard).all(|variable| variable["name"] != name),
        format!("there is no variable {name}"),
    )
}

fn queried(dashboard: &Value) -> impl Iterator<Item = &Value> {
    variables(dashboard).filter(|variable| variable["type"] == "query")
}

fn values_come_from_labels(dashboard: &Value) -> Vec<String> {
    let is_function = |query: &str| {
        let arguments = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let parts = arguments.and_then(|arguments| arguments.rsplit_once(", "));
        parts.is_some_and(|(series, label)| !label.is_empty() && is_balanced(series) && !series.is_empty())
    };
    let queries = queried(dashboard).map(|variable| variable["query"]["query"].as_str().unwrap_or_default());
    queries.filter(|query| !is_function(query)).map(|query| format!("{query:?} is no label_values")).collect()
}

fn values_follow_the_time_range(dashboard: &Value) -> Vec<String> {
    let stale = queried(dashboard).filter(|variable| variable["refresh"] != 2);
    stale
        .map(|variable| format!("{} is not read again if the time range changes", variable["name"]))
        .collect()
}

fn panels_use_the_chosen_source(dashboard: &Value) -> Vec<String> {
    bad_panels(dashboard, "has another data source than the chosen one", |panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.chain([panel]).any(|asking| asking["datasource"]["uid"] != "${datasource}")
    })
}

fn panels_are_explained(dashboard: &Value) -> Vec<String> {
    bad_panels(dashboard, "has no title, or no sentence that explains it", |panel| {
        let has = |name: &str, end: &str| {
            panel[name].as_str().is_some_and(|text| !text.is_empty() && text.ends_with(end))
        };
        !has("title", "") || !has("description", ".")
    })
}

fn panels_have_units(dashboard: &Value) -> Vec<String> {
    bad_panels(dashboard, "has no unit of Grafana", |panel| {
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        !UNITS.contains(&unit)
    })
}

fn panels_ask_something(dashboard: &Value) -> Vec<String> {
    let is_empty = |panel: &Value| panel["targets"].as_array().is_none_or(Vec::is_empty);
    bad_panels(dashboard, "asks nothing", is_empty)
}

/// Prometheus itself reads them in the scenario `viz_grafana`.
fn queries_are_complete(dashboard: &Value) -> Vec<String> {
    bad_queries(dashboard, "is not complete", |query| query.is_empty() || !is_balanced(query))
}

fn is_balanced(query: &str) -> bool {
    let mut open = Vec::new();
    let mut is_text = false;
    for c in query.chars() {
        match c {
            '"' => is_text = !is_text,
            _ if is_text => {}
            '(' | '[' | '{' => open.push(c),
            ')' | ']' | '}'
                if !matches!((open.pop(), c), (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')) =>
            {
                return false;
            }
            _ => {}
        }
    }
    open.is_empty() && !is_text
}

/// What is between `function(` and the end of the range, for each of the functions.
fn rates<'a>(query: &'a str, functions: &'a [&str]) -> impl Iterator<Item = &'a str> {
    functions.iter().flat_map(move |function| {
        query.match_indices(*function).filter_map(move |(at, _)| {
            let is_name = query[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            query[at + function.len()..].split_inclusive(']').next().filter(|_| !is_name)
        })
    })
}

fn rates_are_over_grafanas_interval(dashboard: &Value) -> Vec<String> {
    bad_queries(dashboard, "has a rate over another time than Grafana's", |query| {
        rates(query, &["rate(", "irate("]).any(|rate| !rate.ends_with("[$__rate_interval]"))
    })
}

fn counters_are_rates(dashboard: &Value) -> Vec<String> {
    bad_queries(dashboard, "has a counter that is no rate", |query| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let names = query.split(|c: char| !is_part(c)).filter(|name| name.ends_with("_total")).count();
        let first =
            |rate: &str| rate.split(|c: char| !is_part(c)).next().unwrap_or_default().ends_with("_total");
        let counted = rates(query, &["rate(", "irate(", "increase("]).filter(|rate| first(rate)).count();
        names != counted
    })
}

fn queries_filter(dashboard: &Value, label: &str) -> Vec<String> {
    let filter = format!("{label}=~\"${label}\"");
    bad_queries(dashboard, &format!("is of every {label}"), |query| !query.contains(&filter))
}
