//! The error of a scenario that this machine cannot run.

use std::fmt;

/// Ends a scenario that needs something this machine lacks. `reason` says what.
pub fn skip(reason: impl Into<String>) -> anyhow::Error {
    Skipped(reason.into()).into()
}

/// Whether [`skip`] has made this error.
pub fn is_skip(error: &anyhow::Error) -> bool {
    error.is::<Skipped>()
}

/// The reason, if the scenario was skipped.
pub(super) fn reason(error: &anyhow::Error) -> Option<String> {
    error.downcast_ref::<Skipped>().map(ToString::to_string)
}

#[derive(Debug)]
struct Skipped(String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

impl std::error::Error for Skipped {}
