//! Counts votes in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use super::api::VotingResult;
use super::catalogue;

/// A counter for each emoji, in the order of the catalogue.
#[derive(Debug)]
pub(crate) struct Poll {
    votes: Vec<AtomicU64>,
}

impl Poll {
    pub(crate) fn new() -> Self {
        Self { votes: catalogue::all().iter().map(|_| AtomicU64::new(0)).collect() }
    }

    /// Counts a vote for the emoji at this place of the catalogue.
    pub(crate) fn vote(&self, place: usize) {
        if let Some(votes) = self.votes.get(place) {
            votes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The emojis that have votes, those with most votes first.
    pub(crate) fn results(&self) -> Vec<VotingResult> {
        let mut results: Vec<_> = catalogue::all()
            .iter()
            .zip(&self.votes)
            .map(|(entry, votes)| VotingResult {
                shortcode: entry.shortcode.clone(),
                votes: i32::try_from(votes.load(Ordering::Relaxed)).unwrap_or(i32::MAX),
            })
            .filter(|result| result.votes > 0)
            .collect();
        results.sort_by_key(|result| std::cmp::Reverse(result.votes));
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_sorted_and_without_zeros() {
        let poll = Poll::new();
        assert_eq!(poll.results(), []);
        for place in [3, 1, 3, 1000] {
            poll.vote(place);
        }
        let results: Vec<_> = poll.results().into_iter().map(|result| result.votes).collect();
        assert_eq!(results, [2, 1]);
        assert_eq!(poll.results()[0].shortcode, catalogue::all()[3].shortcode);
    }
}
