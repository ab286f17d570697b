//! `weft viz problems`: what is wrong now, the worst first.

use anyhow::Result;
use clap::Args;
use weft_api::viz::{Overview, Problem, Severity};

use super::{
    access::Viz,
    format::NONE,
    notes,
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

  # For a program: kind and the resources that each problem concerns
  weft viz problems -o json

These are the problems of all namespaces, and of the last minutes; a problem stays for a minute after it was last seen.
The exit code is 0 whether there are problems or not. `weft check` looks at the installation.")]
pub(crate) struct ProblemsArgs {
    #[command(flatten)]
    output: OutputOption,
}

pub(crate) async fn problems(global: &Global, options: &VizOptions, args: &ProblemsArgs) -> Result<()> {
    let viz = Viz::connect(global, options).await?;
    let answer = viz.get::<Overview>("/api/overview", &[]).await?;
    notes::about(&answer.meta);
    let problems = answer.data.problems;
    if args.output.output == Output::Json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&problems)?));
    }
    if problems.is_empty() {
        notes::say("No problems were found.");
        return Ok(());
    }
    print(&table(&problems, answer.meta.at).render())
}

fn table(problems: &[Problem], now: f64) -> Table {
    let mut table = Table::new(&["SEVERITY", "SINCE", "PROBLEM"].map(|name| (name, Align::Left)));
    for problem in problems {
        let severity = match problem.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        };
        let since = problem.since.map_or_else(|| NONE.to_owned(), |since| age(now - since));
        table.row([severity.to_owned(), since, problem.summary.clone()]);
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
    use weft_api::viz::ProblemKind;

    use super::*;

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
            table(&problems, 1300.0).render(),
            "\
SEVERITY   SINCE   PROBLEM
critical   5m      Node b has no proxy, but 2 meshed pods.
warning    -       Prometheus does not scrape the proxy of node n.
"
        );
        assert_eq!([0.0, 119.0, 120.0, 7200.0, 200_000.0].map(age), ["0s", "119s", "2m", "2h", "2d"]);
    }
}
