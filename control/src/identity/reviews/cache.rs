//! Keeps the answers of token reviews for a while, by the hash of the token.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};

use super::api::Subject;

/// A token's hash: with it, nobody can authenticate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

/// Node proxies and sidecars with tokens that are valid now; a few hundred bytes each.
const MAX_ACCEPTED: usize = 16_384;
/// Anyone can send tokens that are refused.
const MAX_REFUSED: usize = 1024;

/// How long answers are kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::identity) struct Timing {
    /// For this long, an accepted token is not reviewed again.
    pub(in crate::identity) fresh: Duration,
    /// For this long, it stays accepted while the API server cannot be asked.
    pub(in crate::identity) stale: Duration,
    /// For this long, a refused token is not reviewed again.
    pub(in crate::identity) refused: Duration,
}

/// Answers of the API server.
#[derive(Debug, Default)]
pub(super) struct Cache {
    accepted: HashMap<TokenHash, Accepted>,
    refused: HashMap<TokenHash, (Instant, String)>,
}

#[derive(Debug)]
struct Accepted {
    subject: Subject,
    reviewed: Instant,
    /// When the token itself expires.
    expires: SystemTime,
}

/// What the cache knows about a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    Accepted(Subject),
    /// Accepted some time ago: to be reviewed again, and good enough if that is impossible.
    Stale(Subject),
    Refused(String),
    Nothing,
}

impl TokenHash {
    pub(super) fn of(token: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token).as_ref());
        Self(hash)
    }
}

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl Cache {
    pub(super) fn get(&self, hash: &TokenHash, timing: &Timing, now: (Instant, SystemTime)) -> Known {
        if let Some((reviewed, reason)) = self.refused.get(hash)
            && now.0.duration_since(*reviewed) < timing.refused
        {
            return Known::Refused(reason.clone());
        }
        let Some(accepted) = self.accepted.get(hash).filter(|accepted| accepted.expires > now.1) else {
            return Known::Nothing;
        };
        let age = now.0.duration_since(accepted.reviewed);
        match age {
            age if age < timing.fresh => Known::Accepted(accepted.subject.clone()),
            age if age < timing.stale => Known::Stale(accepted.subject.clone()),
            _ => Known::Nothing,
        }
    }

    pub(super) fn accept(
        &mut self,
        hash: TokenHash,
        subject: Subject,
        expires: SystemTime,
        timing: &Timing,
        now: (Instant, SystemTime),
    ) {
        self.refused.remove(&hash);
        if self.accepted.len() >= MAX_ACCEPTED {
            self.accepted.retain(|_, accepted| {
                accepted.expires > now.1 && now.0.duration_since(accepted.reviewed) < timing.stale
            });
        }
        // Still full: the token is accepted now, and reviewed again next time.
        if self.accepted.len() < MAX_ACCEPTED || self.accepted.contains_key(&hash) {
            self.accepted.insert(hash, Accepted { subject, reviewed: now.0, expires });
        }
    }

    pub(super) fn refuse(&mut self, hash: TokenHash, reason: String, now: Instant) {
        self.accepted.remove(&hash);
        if self.refused.len() >= MAX_REFUSED {
            // Nothing is lost but time: these tokens are reviewed again.
            self.refused.clear();
        }
        self.refused.insert(hash, (now, reason));
    }
}
