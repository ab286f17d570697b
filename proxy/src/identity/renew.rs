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
    timing::Timing,
};
use crate::{
    control::Client,
    metrics::IdentityMetrics,
    tls::{Anchors, Credential, Identity},
};

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

/// The next request for a certificate.
struct Next {
    due: Instant,
    /// How many requests have failed since the last success.
    failures: u32,
    /// How many certificates were of another issuer than the control plane has named.
    replacements: u32,
}

impl Next {
    /// Makes it due no later than a certificate of another issuer is to be replaced.
    fn replace(&mut self, timing: &Timing) {
        self.due = self.due.min(Instant::now() + timing.replace_after(self.replacements));
    }
}

impl Renewal {
    /// Runs until it is dropped, which also drops the keys.
    pub(super) async fn run(mut self) {
        let Some(mut anchors) = self.first_anchors().await else {
            return;
        };
        let mut current: Option<CertifiedKey> = None;
        let mut next = Next { due: Instant::now(), failures: 0, replacements: 0 };
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
                        next.due = Instant::now();
                    }
                }
                changed = self.issuer.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    next.replacements = 0;
                    if let Some(current) = &current && self.is_of_another_issuer(current) {
                        tracing::info!(identity = %self.identity, "the mesh has another issuer; the certificate will be replaced");
                        next.replace(&self.timing);
                    }
                }
                changed = self.jumps.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    next.failures = 0;
                    next.due = next.due.min(self.due_after_jump());
                }
                // The request may have been refused because the only pod was leaving; a new pod need not wait.
                () = self.slot.retry_now.notified() => {
                    if next.failures > 0 {
                        next.failures = 0;
                        next.due = Instant::now();
                    }
                }
                () = tokio::time::sleep_until(next.due) => {
                    if let Some(fresh) = self.attempt(&anchors, &mut next).await {
                        current = Some(fresh);
                    }
                }
            }
        }
    }

    /// Requests a certificate, and sets when the next one is due.
    async fn attempt(&self, anchors: &Anchors, next: &mut Next) -> Option<CertifiedKey> {
        match self.renew(anchors).await {
            Ok(fresh) => {
                next.failures = 0;
                next.due = Instant::now() + self.renew_after();
                if self.is_of_another_issuer(&fresh) {
                    next.replacements += 1;
                    next.replace(&self.timing);
                }
                Some(fresh)
            }
            Err(error) => {
                let retry = self.timing.retry_after(next.failures);
                next.failures += 1;
                next.due = Instant::now() + retry;
                self.report(&error, retry);
                None
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
