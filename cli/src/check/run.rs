//! Runs the checks.

use std::time::{Duration, Instant};

use super::{
    Results,
    cluster::{Cluster, Options},
    model::{Category, CheckResult, Outcome, Severity},
    print::Printer,
};
use crate::terminal::Spinner;

const PAUSE: Duration = Duration::from_secs(1);

/// Runs the checks in order. A fatal failure ends the run: what follows depends on it.
pub(super) async fn run(
    categories: Vec<Category>,
    options: Options,
    wait: Duration,
    printer: &Printer,
) -> Results {
    let deadline = Instant::now() + wait;
    let spinner = Spinner::new();
    // What it has read is read again only while a check is repeated.
    let mut cluster = Cluster::new(options);
    let mut all: Results = Vec::new();
    for category in categories {
        let mut results = Vec::new();
        let mut stop = false;
        for check in &category.checks {
            let error = loop {
                match (check.run)(&cluster).await {
                    Ok(()) => break None,
                    Err(error) if check.patient && Instant::now() < deadline => {
                        spinner.say(format!("{}: {}", check.description, first_line(&error)));
                        tokio::time::sleep(PAUSE).await;
                        cluster = cluster.forget();
                    }
                    Err(error) => break Some(format!("{error:#}")),
                }
            };
            let outcome = match (error, check.severity) {
                (None, _) => Outcome::Success,
                (Some(error), Severity::Warning) => Outcome::Warning(error),
                (Some(error), severity) => {
                    stop = severity == Severity::Fatal;
                    Outcome::Error(error)
                }
            };
            let result = CheckResult { description: check.description, anchor: check.anchor, outcome };
            spinner.hide(|| printer.result(category.name, &result));
            results.push(result);
            if stop {
                break;
            }
        }
        all.push((category, results));
        if stop {
            break;
        }
    }
    spinner.clear();
    all
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}
