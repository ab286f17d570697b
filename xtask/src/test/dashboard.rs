//! Runs the tests of the dashboard's front end, which are written in TypeScript.

use std::path::Path;

use anyhow::Result;

use super::{Options, tally::Start};
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
pub(super) fn unit() -> Result<[Start; 2]> {
    let suite = |name: &str, script| anyhow::Ok((name.to_owned(), frontend::npm(&["run", script])?));
    Ok([suite("dashboard: types and lint", "check")?, suite("dashboard: unit tests", "test:unit")?])
}

/// The built dashboard in a browser, against a simulated server.
pub(super) fn journeys() -> Result<Start> {
    debian::ensure(&debian::BROWSER)?;
    Ok(("dashboard: journeys".to_owned(), frontend::npm(&["run", "test:journeys"])?))
}
