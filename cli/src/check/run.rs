//! Runs the checks.

use std::time::{Duration, Instant};

use super::{
    Results,
    cluster::{Cluster, Options},
    model::{Category, Check, CheckResult, Outcome, Severity},
    print::Printer,
};
use crate::terminal::Spinner;

const PAUSE: Duration = Duration::from_secs(1);

/// What is checked.
pub(super) struct Plan {
    pub(super) categories: Vec<Category>,
    /// Those of weft-viz, if it is installed.
    pub(super) extensions: Vec<Category>,
}

/// Runs the checks in order. A fatal failure ends the run: what follows depends on it.
pub(super) async fn run(plan: Plan, options: Options, wait: Duration, printer: &Printer) -> Results {
    let mut run = Run {
        deadline: Instant::now() + wait,
        spinner: Spinner::new(),
        cluster: Some(Cluster::new(options)),
        printer,
        all: Vec::new(),
    };
    if run.categories(plan.categories).await && !plan.extensions.is_empty() && run.has_viz().await {
        run.categories(plan.extensions).await;
    }
    run.spinner.clear();
    run.all
}

struct Run<'a> {
    deadline: Instant,
    spinner: Spinner,
    /// What it has read is read again only while a check is repeated.
    cluster: Option<Cluster>,
    printer: &'a Printer,
    all: Results,
}

impl Run<'_> {
    /// Whether the next checks make sense.
    async fn categories(&mut self, categories: Vec<Category>) -> bool {
        for category in categories {
            let mut results = Vec::new();
            let mut go_on = true;
            for check in &category.checks {
                let outcome = self.check(check).await;
                go_on = !(check.severity == Severity::Fatal && matches!(outcome, Outcome::Error(_)));
                let result = CheckResult { description: check.description, anchor: check.anchor, outcome };
                self.spinner.hide(|| self.printer.result(category.name, &result));
                results.push(result);
                if !go_on {
                    break;
                }
            }
            self.all.push((category, results));
            if !go_on {
                return false;
            }
        }
        true
    }

    async fn check(&mut self, check: &Check) -> Outcome {
        loop {
            let Some(cluster) = &self.cluster else {
                return Outcome::Error("nothing can be read".to_owned());
            };
            match (check.run)(cluster).await {
                Ok(()) => return Outcome::Success,
                Err(error) if check.patient && Instant::now() < self.deadline => {
                    self.spinner.say(format!("{}: {}", check.description, first_line(&error)));
                    tokio::time::sleep(PAUSE).await;
                    self.cluster = self.cluster.take().map(Cluster::forget);
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    return match check.severity {
                        Severity::Warning => Outcome::Warning(error),
                        Severity::Fatal | Severity::Error => Outcome::Error(error),
                    };
                }
            }
        }
    }

    /// Whether weft-viz is installed. If that cannot be read, the checks before have said so.
    async fn has_viz(&self) -> bool {
        match &self.cluster {
            Some(cluster) => cluster.viz_namespaces().await.is_ok_and(|found| !found.is_empty()),
            None => false,
        }
    }
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}
