//! Logs mistakes in manifests, each once, and once more when it is corrected.

use std::collections::BTreeSet;

use super::{document::Ignored, loader::Loaded, problem::Problem};

#[derive(Debug, Default)]
pub(super) struct Reporter {
    problems: BTreeSet<Problem>,
    ignored: Vec<Ignored>,
}

impl Reporter {
    pub(super) fn report(&mut self, loaded: Loaded) {
        let problems: BTreeSet<Problem> = loaded.problems.into_iter().collect();
        for problem in problems.difference(&self.problems) {
            tracing::error!("{problem}");
        }
        for corrected in self.problems.difference(&problems) {
            tracing::info!("{}: corrected: {}", corrected.location, corrected.reason);
        }
        for ignored in loaded.ignored.iter().filter(|ignored| !self.ignored.contains(ignored)) {
            tracing::info!(
                "{}: ignored: weft does not use objects of kind {}",
                ignored.location,
                ignored.kind
            );
        }
        self.problems = problems;
        self.ignored = loaded.ignored;
    }

    pub(super) fn problem_count(&self) -> usize {
        self.problems.len()
    }
}
