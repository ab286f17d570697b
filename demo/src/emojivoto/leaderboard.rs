//! Adds up the results of voting's replicas: each of them knows only the votes that it counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::api::VotingResult;

/// The response header by which a replica names itself.
pub(crate) const REPLICA_HEADER: &str = "x-voting-replica";

/// The results of a replica that has not answered for so long are forgotten.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Further replicas are not counted.
const MAX_REPLICAS: usize = 64;

/// The last results of each replica.
#[derive(Debug, Default)]
pub(crate) struct Leaderboard {
    replicas: Mutex<HashMap<String, Answer>>,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    results: Vec<VotingResult>,
}

impl Leaderboard {
    /// Takes the answer of a replica, and returns the sums of all of them, most votes first.
    pub(crate) fn add(&self, replica: &str, results: Vec<VotingResult>, now: Instant) -> Vec<VotingResult> {
        // Answers are replaced whole: they are valid after a panic too.
        let mut replicas = self.replicas.lock().unwrap_or_else(PoisonError::into_inner);
        replicas.retain(|_, answer| now.duration_since(answer.at) < MAX_AGE);
        if replicas.len() < MAX_REPLICAS || replicas.contains_key(replica) {
            replicas.insert(replica.to_owned(), Answer { at: now, results });
        }
        let mut sums: BTreeMap<&str, i32> = BTreeMap::new();
        for result in replicas.values().flat_map(|answer| &answer.results) {
            let sum = sums.entry(&result.shortcode).or_default();
            *sum = sum.saturating_add(result.votes);
        }
        let mut sums: Vec<_> = sums
            .into_iter()
            .map(|(shortcode, votes)| VotingResult { shortcode: shortcode.to_owned(), votes })
            .collect();
        sums.sort_by_key(|result| std::cmp::Reverse(result.votes));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(shortcode: &str, votes: i32) -> VotingResult {
        VotingResult { shortcode: shortcode.to_owned(), votes }
    }

    #[test]
    fn replicas_are_added_up_and_forgotten() {
        let (board, start) = (Leaderboard::default(), Instant::now());
        assert_eq!(board.add("a", vec![result(":joy:", 2)], start), [result(":joy:", 2)]);
        let later = start + Duration::from_secs(30);
        let both = board.add("b", vec![result(":joy:", 1), result(":taco:", 4)], later);
        assert_eq!(both, [result(":taco:", 4), result(":joy:", 3)]);
        // The newer answer of a replica replaces its older one.
        let again = board.add("a", vec![result(":joy:", 5)], later);
        assert_eq!(again, [result(":joy:", 6), result(":taco:", 4)]);
        let much_later = later + MAX_AGE;
        assert_eq!(board.add("b", vec![result(":joy:", 1)], much_later), [result(":joy:", 1)]);
    }
}
