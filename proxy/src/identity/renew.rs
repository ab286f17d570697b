//! Requests and renews the certificate of one identity.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use rustls::sign::CertifiedKey;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    certify::{CertifyError, certify},
    clock::Clock,
};
use crate::{
    control::Client,
    metrics::IdentityMetrics,
    tls::{Anchors, Credential, Identity},
};

/// When certificates are renewed, and failures retried.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    pub(super) renew_min: Duration,
    pub(super) renew_max: Duration,
    pub(super) retry_min: Duration,
    pub(super) retry_max: Duration,
    /// Certificates of another issuer are replaced within this time.
    pub(super) replace_min: Duration,
    /// The longest pause before another attempt, if the new one is of another issuer, too.
    pub(super) replace_max: Duration,
    pub(super) clock: Clock,
    pub(super) clock_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            renew_min: Duration::from_secs(10),
            renew_max: Duration::from_secs(24 * 60 * 60),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(10),
            replace_min: Duration::from_secs(20),
            replace_max: Duration::from_secs(300),
            clock: Clock::default(),
            clock_period: Duration::from_secs(1),
        }
    }
}

impl Timing {
    /// After 70 % of the remaining lifetime.
    fn renew_after(&self, remaining: Duration) -> Duration {
        remaining.mul_f64(0.7).clamp(self.renew_min, self.renew_max)
    }

    /// Doubles with each failure. The pause is a random value between half of that and all of it, so that identities
    /// and nodes do not all retry at once.
    fn retry_after(&self, failures: u32) -> Duration {
        let full = self.retry_min.saturating_mul(1 << failures.min(16)).min(self.retry_max);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// A random moment, so that not all identities and nodes ask at once. Later with each answer that is of another
    /// issuer, too: replicas of the control plane learn of a new one at different times.
    fn replace_after(&self, attempts: u32) -> Duration {
        let full = self.replace_min.saturating_mul(1 << attempts.min(16)).min(self.replace_max);
        let least = if attempts == 0 { 0.0 } else { 0.5 };
        full.mul_f64(rand::random_range(least..=1.0))
    }
}

/// The task that keeps the certificate of one identity fresh.
pub(super) struct Renewal {
    pub(super) identity: Identity,
    pub(super) node: Arc<str>,
    pub(super) control: Client,
    pub(super) token_file: Arc<Path>,
    pub(super) anchors: watch::Receiver<Option<Anchors>>,
    /// The certificate of the issuer that signs now.
    pub(super) issuer: watch::Receiver<Option<Arc<[u8]>>>,
    pub(super) jumps: watch::Receiver<()>,
    pub(super) timing: Timing,
    pub(super) metrics: IdentityMetrics,
    pub(super) slot: Arc<Slot>,
}

/// The current credential of an identity, which is read without a lock.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) current: ArcSwapOption<Credential>,
    /// Notified of every new credential.
    pub(super) published: watch::Sender<()>,
    /// Notified by a new lease: if the last request failed, it is retried at once.
    pub(super) retry_now: Notify,
}

impl Renewal {
    /// Runs until it is dropped, which also drops the keys.
    pub(super) async fn run(mut self) {
        let Some(mut anchors) = self.first_anchors().await else {
            return;
        };
        let mut current: Option<CertifiedKey> = None;
        let (mut failures, mut replacements) = (0, 0);
        let mut due = Instant::now();
        loop {
            tokio::select! {
                // The anchors first, so that an answer is verified by the latest ones.
                biased;
                changed = self.anchors.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let Some(new) = self.anchors.borrow_and_update().clone() else { continue };
                    anchors = new;
                    if let Some(current) = &current && !self.rebuild(current, &anchors) {
                        due = Instant::now();
                    }
                }
                changed = self.issuer.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    replacements = 0;
                    if let Some(current) = &current && self.is_of_another_issuer(current) {
                        tracing::info!(identity = %self.identity, "the mesh has another issuer; the certificate will be replaced");
                        due = due.min(Instant::now() + self.timing.replace_after(replacements));
                    }
                }
                changed = self.jumps.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    failures = 0;
                    due = due.min(self.due_after_jump());
                }
                // The request may have been refused because the only pod was leaving; a new pod need not wait.
                () = self.slot.retry_now.notified() => {
                    if failures > 0 {
                        failures = 0;
                        due = Instant::now();
                    }
                }
                () = tokio::time::sleep_until(due) => {
                    match self.renew(&anchors).await {
                        Ok(fresh) => {
                            failures = 0;
                            due = Instant::now() + self.renew_after();
                            if self.is_of_another_issuer(&fresh) {
                                replacements += 1;
                                due = due.min(Instant::now() + self.timing.replace_after(replacements));
                            }
                            current = Some(fresh);
                        }
                        Err(error) => {
                            let retry = self.timing.retry_after(failures);
                            failures += 1;
                            due = Instant::now() + retry;
                            self.report(&error, retry);
                        }
                    }
                }
            }
        }
    }

    async fn first_anchors(&mut self) -> Option<Anchors> {
        self.anchors.wait_for(Option::is_some).await.ok()?.clone()
    }

    async fn renew(&self, anchors: &Anchors) -> Result<CertifiedKey, CertifyError> {
        let fresh = certify(&self.control, &self.token_file, &self.identity, anchors).await?;
        let credential = Credential::assemble(self.identity.clone(), fresh.clone(), anchors)?;
        let expires = credential.expires;
        self.publish(credential);
        self.metrics.issued(self.identity.as_str(), expires);
        tracing::info!(
            identity = %self.identity,
            node = %self.node,
            lifetime_s = self.remaining(expires).as_secs(),
            "certificate issued"
        );
        Ok(fresh)
    }

    /// Publishes the same certificate with new anchors. False if peers with these anchors would not accept it.
    fn rebuild(&self, certified: &CertifiedKey, anchors: &Anchors) -> bool {
        match Credential::assemble(self.identity.clone(), certified.clone(), anchors) {
            Ok(credential) => self.publish(credential),
            Err(error) => {
                tracing::warn!(identity = %self.identity, %error, "failed to apply new trust anchors")
            }
        }
        match Credential::verify(&self.identity, &certified.cert, anchors) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(identity = %self.identity, %error, "certificate is not valid under the new trust anchors; requesting a new one");
                false
            }
        }
    }

    /// Whether the control plane has named an issuer that has not signed this certificate. Its own follows it in the chain.
    fn is_of_another_issuer(&self, certified: &CertifiedKey) -> bool {
        let named = self.issuer.borrow().clone();
        let signed_by = certified.cert.get(1).map(|certificate| &**certificate);
        named.is_some_and(|named| signed_by.is_some_and(|issuer| issuer != &*named))
    }

    fn publish(&self, credential: Credential) {
        self.slot.current.store(Some(Arc::new(credential)));
        self.slot.published.send_replace(());
    }

    fn renew_after(&self) -> Duration {
        let current = self.slot.current.load();
        self.timing.renew_after(current.as_ref().map_or(Duration::ZERO, |c| self.remaining(c.expires)))
    }

    /// The next renewal after the clock was set: at once if the certificate is not valid now, else by its lifetime.
    fn due_after_jump(&self) -> Instant {
        let now = self.timing.clock.now();
        let is_valid = |c: &Arc<Credential>| c.is_valid_at(now);
        match self.slot.current.load().as_ref().is_some_and(is_valid) {
            true => Instant::now() + self.renew_after(),
            false => Instant::now(),
        }
    }

    fn remaining(&self, expires: SystemTime) -> Duration {
        expires.duration_since(self.timing.clock.now()).unwrap_or_default()
    }

    fn report(&self, error: &CertifyError, retry: Duration) {
        self.metrics.failed(self.identity.as_str());
        let left = self.slot.current.load().as_ref().map(|c| self.remaining(c.expires).as_secs());
        tracing::warn!(
            identity = %self.identity,
            node = %self.node,
            %error,
            retry_ms = retry.as_millis(),
            old_certificate_left_s = left,
            "failed to obtain a certificate; retrying"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_after_seventy_percent_within_bounds() {
        let timing = Timing::default();
        let after = |s| timing.renew_after(Duration::from_secs(s)).as_secs();
        assert_eq!(after(100), 70);
        assert_eq!(after(5), 10);
        assert_eq!(after(0), 10);
        assert_eq!(after(86_400), 60_480);
        assert_eq!(after(86_400 * 30), 86_400);
    }

    #[test]
    fn retries_slow_down_and_are_bounded() {
        let timing = Timing::default();
        for failures in 0..100 {
            let full = (200_u128 << failures.min(16)).min(10_000);
            let wait = timing.retry_after(failures).as_millis();
            assert!((full / 2..=full).contains(&wait), "{failures}: {wait}");
        }
    }

    #[test]
    fn replacements_are_spread_and_slow_down() {
        let timing = Timing::default();
        let mut first: Vec<_> = (0..50).map(|_| timing.replace_after(0).as_secs_f64()).collect();
        first.sort_by(f64::total_cmp);
        assert!(first[0] < 10.0 && first[49] > 10.0 && first[49] <= 20.0, "{first:?}");
        for attempts in 1..100 {
            let full = (20_000_u128 << attempts.min(16)).min(300_000);
            let wait = timing.replace_after(attempts).as_millis();
            assert!((full / 2..=full).contains(&wait), "{attempts}: {wait}");
        }
    }
}
