//! Runs the tests of the dashboard's front end, which are written in TypeScript.

use std::{path::Path, process};

use anyhow::Result;

use super::{Options, tally::Tally};
use crate::{debian, frontend};

/// The filter that selects everything of weft-viz: its unit tests, its scenarios and its front end.
pub(super) const FILTER: &str = "viz";

/// Whether all tests of a package run, whatever their names.
pub(super) fn selects(folder: &Path, options: &Options) -> bool {
    options.filter.as_deref() == Some(FILTER) && folder.ends_with(FILTER)
}

pub(super) fn is_selected(options: &Options) -> bool {
    !options.list && options.filter.as_deref().is_none_or(|filter| filter == FILTER)
}

/// Types, lint and unit tests.
pub(super) fn unit(tally: &mut Tally) -> Result<()> {
    tally.run("dashboard: types and lint", frontend::npm(&["run", "check"])?)?;
    tally.run("dashboard: unit tests", frontend::npm(&["run", "test:unit"])?)
}

/// The built dashboard in a browser, against a simulated server.
pub(super) fn journeys() -> Result<(String, process::Command)> {
    debian::ensure(&debian::BROWSER)?;
    Ok(("dashboard: journeys".to_owned(), frontend::npm(&["run", "test:journeys"])?))
}
