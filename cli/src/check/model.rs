//! What a check is, and what it can find.

use anyhow::Result;
use futures::future::BoxFuture;

use super::cluster::Cluster;

/// The documentation page of the checks; each has a heading there.
pub(super) const HINTS: &str = "https://github.com/weft-mesh/weft/blob/main/docs/check.md";

/// Checks that belong together, in the order in which they run.
pub(super) struct Category {
    pub(super) name: &'static str,
    pub(super) checks: Vec<Check>,
}

pub(super) struct Check {
    pub(super) description: &'static str,
    /// The heading in docs/check.md.
    pub(super) anchor: &'static str,
    pub(super) severity: Severity,
    /// It may take time until it succeeds, so it is repeated for a while.
    pub(super) patient: bool,
    pub(super) run: fn(&Cluster) -> BoxFuture<'_, Result<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Without it, the checks that follow say nothing.
    Fatal,
    Error,
    Warning,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Success,
    Warning(String),
    Error(String),
}

#[derive(Debug)]
pub(super) struct CheckResult {
    pub(super) description: &'static str,
    pub(super) anchor: &'static str,
    pub(super) outcome: Outcome,
}

type Run = fn(&Cluster) -> BoxFuture<'_, Result<()>>;

impl Check {
    pub(super) fn fatal(description: &'static str, anchor: &'static str, run: Run) -> Self {
        Self { description, anchor, severity: Severity::Fatal, patient: false, run }
    }

    pub(super) fn error(description: &'static str, anchor: &'static str, run: Run) -> Self {
        Self { severity: Severity::Error, ..Self::fatal(description, anchor, run) }
    }

    pub(super) fn warning(description: &'static str, anchor: &'static str, run: Run) -> Self {
        Self { severity: Severity::Warning, ..Self::fatal(description, anchor, run) }
    }

    pub(super) fn patient(self) -> Self {
        Self { patient: true, ..self }
    }
}
