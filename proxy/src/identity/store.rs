//! Stores the certificates of the identities in use on this node.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::SystemTime,
};

use parking_lot::Mutex;
use tokio::{sync::watch, task::AbortHandle};

use super::{
    clock::watch_jumps,
    issuer::CurrentIssuer,
    renew::{Renewal, Slot},
    timing::Timing,
};
use crate::{
    control::Client,
    metrics::IdentityMetrics,
    tls::{Anchors, Credential, Identity},
};

/// The sources of certificates and trust anchors.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name, for the log.
    pub node: String,
    pub control: Client,
    /// The token that proves to the control plane that this is the node's proxy. Read anew for each request.
    pub token_file: PathBuf,
    /// The trust anchors, which may change.
    pub anchors: watch::Receiver<Option<Anchors>>,
    /// Who signs now: certificates of another issuer are replaced.
    pub issuer: CurrentIssuer,
}

/// The certificates of the node's identities.
pub struct Store {
    config: Config,
    timing: Timing,
    token_file: Arc<Path>,
    metrics: IdentityMetrics,
    jumps: watch::Receiver<()>,
    entries: Mutex<HashMap<Identity, Weak<Entry>>>,
}

/// One identity's certificate, kept fresh as long as a lease of it exists.
#[derive(Clone)]
pub struct Lease(Arc<Entry>);

struct Entry {
    identity: Identity,
    slot: Arc<Slot>,
    renewal: AbortHandle,
    store: Weak<Store>,
}

impl Store {
    /// A store without certificates, and the task that watches the clock for it.
    pub fn new(
        config: Config,
        metrics: IdentityMetrics,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        Self::with_timing(config, metrics, Timing::default())
    }

    pub(super) fn with_timing(
        config: Config,
        metrics: IdentityMetrics,
        timing: Timing,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (jumps_sender, jumps) = watch::channel(());
        let clock_watch = watch_jumps(timing.clock.clone(), timing.clock_period, jumps_sender);
        let token_file = config.token_file.clone().into();
        let entries = Mutex::default();
        (Arc::new(Self { config, timing, token_file, metrics, jumps, entries }), clock_watch)
    }

    /// Obtains a certificate for `identity` and keeps it fresh. Must be called within a tokio runtime.
    ///
    /// All leases of an identity share one certificate. A new lease retries a failed request at once. When the last
    /// lease is dropped, so is the key.
    pub fn lease(self: &Arc<Self>, identity: &Identity) -> Lease {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(identity).and_then(Weak::upgrade) {
            entry.slot.retry_now.notify_one();
            return Lease(entry);
        }
        let slot = Arc::new(Slot::default());
        let renewal = Renewal {
            identity: identity.clone(),
            node: self.config.node.as_str().into(),
            control: self.config.control.clone(),
            token_file: self.token_file.clone(),
            anchors: self.config.anchors.clone(),
            issuer: self.config.issuer.subscribe(),
            jumps: self.jumps.clone(),
            timing: self.timing.clone(),
            metrics: self.metrics.clone(),
            slot: slot.clone(),
        };
        let entry = Arc::new(Entry {
            identity: identity.clone(),
            slot,
            renewal: tokio::spawn(renewal.run()).abort_handle(),
            store: Arc::downgrade(self),
        });
        entries.insert(identity.clone(), Arc::downgrade(&entry));
        Lease(entry)
    }

    /// Whether there are trust anchors.
    pub fn anchors_ready(&self) -> bool {
        self.config.anchors.borrow().is_some()
    }

    /// The trust anchors of this moment.
    pub fn anchors(&self) -> Option<Anchors> {
        self.config.anchors.borrow().clone()
    }

    /// Whether any identity has a certificate, or none is in use.
    pub fn any_ready(&self) -> bool {
        let live = self.live();
        live.is_empty() || live.iter().any(|entry| entry.current().is_some())
    }

    /// When each identity's certificate expires; `None` if it has none.
    pub fn expiries(&self) -> Vec<(Identity, Option<SystemTime>)> {
        let expiry = |entry: &Arc<Entry>| (entry.identity.clone(), entry.current().map(|c| c.expires));
        self.live().iter().map(expiry).collect()
    }

    /// The entries in use. Must be dropped without holding the lock: dropping the last reference to an entry takes it.
    fn live(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().values().filter_map(Weak::upgrade).collect()
    }
}

impl Lease {
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Waits for a valid certificate: the first one, or the next if the current one has expired.
    pub async fn usable(&self) {
        // The sender is in the slot, which this lease holds, so it cannot be dropped.
        let mut published = self.0.slot.published.subscribe();
        while self.current().is_none() && published.changed().await.is_ok() {}
    }

    /// The current credential; `None` before the first certificate, or if it is not valid by this node's clock.
    pub fn current(&self) -> Option<Arc<Credential>> {
        self.0.current()
    }
}

impl Entry {
    fn current(&self) -> Option<Arc<Credential>> {
        self.slot.current.load_full().filter(|credential| credential.is_valid_at(SystemTime::now()))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.renewal.abort();
        let Some(store) = self.store.upgrade() else {
            return;
        };
        let mut entries = store.entries.lock();
        // There may be a new entry for the identity.
        if entries.get(&self.identity).is_some_and(|entry| entry.strong_count() == 0) {
            entries.remove(&self.identity);
            store.metrics.remove(self.identity.as_str());
        }
    }
}
