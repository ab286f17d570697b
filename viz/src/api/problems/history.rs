//! How long problems have lasted.

use std::collections::BTreeMap;

use weft_api::viz::{Problem, Severity};

use super::Found;

/// A problem stays for so long after it was last found, in seconds, so that the list does not flicker.
const STAYS: f64 = 60.0;
/// A list longer than this helps nobody.
const MAX_PROBLEMS: usize = 1000;

/// The problems that were found, by their ids.
#[derive(Debug, Default)]
pub(crate) struct History {
    known: BTreeMap<String, Known>,
    /// Nothing was looked for before that time.
    began: Option<f64>,
}

#[derive(Debug)]
struct Known {
    problem: Problem,
    weight: f64,
    last: f64,
}

impl History {
    /// All problems that were found now or a moment ago, the worst first.
    pub(super) fn update(&mut self, at: f64, found: Vec<Found>) -> Vec<Problem> {
        let began = *self.began.get_or_insert(at);
        for Found { id, severity, summary, kind, since, weight } in found {
            let before = self.known.get(&id).map(|known| known.problem.since);
            // What was there at the first look began at an unknown time.
            let first_seen = (at > began).then_some(at);
            let since = since.unwrap_or(before.unwrap_or(first_seen));
            let problem = Problem { id: id.clone(), severity, since, summary, kind };
            self.known.insert(id, Known { problem, weight, last: at });
        }
        self.known.retain(|_, known| at - known.last <= STAYS);
        let mut all: Vec<_> = self.known.values().collect();
        let rank = |known: &Known| match known.problem.severity {
            Severity::Critical => 0,
            Severity::Warning => 1,
        };
        all.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| b.weight.total_cmp(&a.weight)));
        all.into_iter().take(MAX_PROBLEMS).map(|known| known.problem.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use weft_api::viz::ProblemKind;

    use super::*;

    fn found(id: &str, severity: Severity, weight: f64) -> Found {
        let kind = ProblemKind::NodeNotScraped { node: id.to_owned(), last_scrape_at: None };
        Found { id: id.to_owned(), severity, summary: String::new(), kind, since: None, weight }
    }

    fn ids(problems: &[Problem]) -> Vec<(&str, Option<f64>)> {
        problems.iter().map(|problem| (problem.id.as_str(), problem.since)).collect()
    }

    #[test]
    fn a_problem_stays_for_a_minute_and_keeps_its_beginning() {
        let mut history = History::default();
        assert_eq!(ids(&history.update(100.0, vec![found("old", Severity::Warning, 1.0)])), [("old", None)]);
        let both = [("new", Some(110.0)), ("old", None)];
        assert_eq!(ids(&history.update(110.0, vec![found("new", Severity::Critical, 0.0)])), both);
        assert_eq!(ids(&history.update(160.0, vec![found("new", Severity::Critical, 0.0)])), both);
        assert_eq!(ids(&history.update(161.0, Vec::new())), [("new", Some(110.0))]);
        assert_eq!(ids(&history.update(221.0, Vec::new())), []);
    }

    #[test]
    fn the_one_that_concerns_the_most_comes_first() {
        let list = vec![
            found("few", Severity::Warning, 1.0),
            found("many", Severity::Warning, 50.0),
            found("critical", Severity::Critical, 0.0),
        ];
        let problems = History::default().update(1.0, list);
        let order: Vec<_> = problems.iter().map(|problem| problem.id.as_str()).collect();
        assert_eq!(order, ["critical", "many", "few"]);
    }
}
