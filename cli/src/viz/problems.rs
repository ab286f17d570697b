//! `weft viz problems`: what is wrong now, the worst first.

use anyhow::Result;
use clap::Args;
use weft_api::viz::{Overview, PathStats, Problem, ProblemKind, Severity};

use super::{
    access::Viz,
    format::{NONE, rps as rate},
    json, notes,
    options::{Output, OutputOption, VizOptions},
    table::{Align, Table},
};
use crate::{global::Global, terminal::print};

/// Print what is wrong in the mesh now, the worst first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # Workloads that fail or got slow, plaintext, denied requests, certificates, nodes without a proxy
  weft viz problems

  # Only those of one namespace, with the call that fails most
  weft viz problems -n emojivoto -o wide

  # For a program: kind and the resources that each problem concerns
  weft viz problems -o json

Without -n, these are the problems of all namespaces, of nodes, and of certificates that all share. docs/viz-api.md says
over which time each kind is looked for; a problem stays for a minute after it was last seen.
The exit code is 0 whether there are problems or not. `weft check` looks at the installation.")]
pub(crate) struct ProblemsArgs {
    #[command(flatten)]
    output: OutputOption,
}

pub(crate) async fn problems(global: &Global, options: &VizOptions, args: &ProblemsArgs) -> Result<()> {
    let viz = Viz::connect(global, options).await?;
    let answer = viz.get::<Overview>("/api/overview", &[]).await?;
    notes::about(&answer.meta);
    let mut problems = answer.data.problems;
    if let Some(namespace) = &global.namespace {
        problems.retain(|problem| namespaces(&problem.kind).contains(&namespace.as_str()));
    }
    if args.output.output == Output::Json {
        return print(&json::text(&json::of_api(serde_json::to_value(&problems)?))?);
    }
    if problems.is_empty() {
        notes::say(&match &global.namespace {
            Some(namespace) => {
                format!("No problems were found in the namespace {namespace}; without -n, all are listed.")
            }
            None => "No problems were found.".to_owned(),
        });
        return Ok(());
    }
    print(&table(&problems, answer.meta.at, args.output.output == Output::Wide).render())
}

/// The namespaces that a problem concerns. Nodes and authorities are in none.
fn namespaces(kind: &ProblemKind) -> Vec<&str> {
    match kind {
        ProblemKind::SuccessRate { resource, .. }
        | ProblemKind::Latency { resource, .. }
        | ProblemKind::PodNotServed { resource, .. } => vec![&resource.namespace],
        ProblemKind::Plaintext { source, destination, .. } => {
            vec![&source.namespace, &destination.namespace]
        }
        ProblemKind::Denied { resource, source, .. } => {
            let source = source.iter().map(|source| source.namespace.as_str());
            source.chain([resource.namespace.as_str()]).collect()
        }
        // NAME.NAMESPACE.serviceaccount.identity.…
        ProblemKind::Certificate { identity, .. } => {
            identity.iter().filter_map(|identity| identity.split('.').nth(1)).collect()
        }
        ProblemKind::NodeWithoutProxy { .. } | ProblemKind::NodeNotScraped { .. } => Vec::new(),
    }
}

/// What the summary leaves out.
fn detail(kind: &ProblemKind) -> String {
    match kind {
        ProblemKind::SuccessRate { rps, worst: Some(worst), .. } => {
            let PathStats { method, path, requests, failures } = worst;
            format!("{}; {failures} of {requests} fail: {method} {path}", rate(*rps))
        }
        ProblemKind::SuccessRate { rps, .. }
        | ProblemKind::Latency { rps, .. }
        | ProblemKind::Denied { rps, .. } => rate(*rps),
        ProblemKind::Plaintext { reason, connections, .. } => match *connections as u64 {
            1 => format!("1 connection: {reason}"),
            n => format!("{n} connections: {reason}"),
        },
        _ => NONE.to_owned(),
    }
}

fn table(problems: &[Problem], now: f64, wide: bool) -> Table {
    let mut columns = ["SEVERITY", "SINCE", "PROBLEM"].map(|name| (name, Align::Left)).to_vec();
    columns.extend(wide.then_some(("DETAIL", Align::Left)));
    let mut table = Table::new(&columns);
    for problem in problems {
        let severity = match problem.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        };
        let since = problem.since.map_or_else(|| NONE.to_owned(), |since| age(now - since));
        let mut cells = vec![severity.to_owned(), since, problem.summary.clone()];
        if wide {
            cells.push(detail(&problem.kind));
        }
        table.row(cells);
    }
    table
}

/// As kubectl writes ages.
fn age(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 120.0 => format!("{s:.0}s"),
        s if s < 7200.0 => format!("{:.0}m", (s / 60.0).floor()),
        s if s < 172_800.0 => format!("{:.0}h", (s / 3600.0).floor()),
        s => format!("{:.0}d", (s / 86_400.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing() -> ProblemKind {
        let kind = serde_json::json!({
            "kind": "success-rate",
            "resource": { "namespace": "emojivoto", "type": "deployment", "name": "voting" },
            "successRate": 0.8, "baseline": null, "baselineSeconds": 3600, "rps": 1.0,
            "worst": { "method": "POST", "path": "/VoteDoughnut", "requests": 9, "failures": 8 },
        });
        serde_json::from_value(kind).unwrap()
    }

    #[test]
    fn a_wide_table_has_the_call_that_fails_most() {
        assert_eq!(detail(&failing()), "1.0rps; 8 of 9 fail: POST /VoteDoughnut");
        let node = ProblemKind::NodeNotScraped { node: "n".to_owned(), last_scrape_at: None };
        assert_eq!(detail(&node), "-");
    }

    #[test]
    fn problems_of_nodes_are_in_no_namespace() {
        assert_eq!(namespaces(&failing()), ["emojivoto"]);
        let node = ProblemKind::NodeNotScraped { node: "n".to_owned(), last_scrape_at: None };
        assert_eq!(namespaces(&node), [] as [&str; 0]);
    }

    #[test]
    fn each_problem_has_a_row_with_its_age() {
        let problem = |severity, since, summary: &str| Problem {
            id: String::new(),
            severity,
            since,
            summary: summary.to_owned(),
            kind: ProblemKind::NodeNotScraped { node: "n".to_owned(), last_scrape_at: None },
        };
        let problems = [
            problem(Severity::Critical, Some(1000.0), "Node b has no proxy, but 2 meshed pods."),
            problem(Severity::Warning, None, "Prometheus does not scrape the proxy of node n."),
        ];
        assert_eq!(
            table(&problems, 1300.0, false).render(),
            "\
SEVERITY   SINCE   PROBLEM
critical   5m      Node b has no proxy, but 2 meshed pods.
warning    -       Prometheus does not scrape the proxy of node n.
"
        );
        assert_eq!([0.0, 119.0, 120.0, 7200.0, 200_000.0].map(age), ["0s", "119s", "2m", "2h", "2d"]);
    }
}
