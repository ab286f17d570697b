//! The replicas of the control plane, and which of them is asked.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use rand::seq::IteratorRandom;
use tokio::sync::{Notify, watch};
use tonic::transport::Channel;

use super::connect::{Connection, TlsSettings};
use crate::tls::Anchors;

/// All replicas that the proxy knows.
///
/// One that is ready is chosen, and stays so until its session ends. Then another ready one is chosen at random, so that
/// the proxies of a replica that goes spread over those that stay.
#[derive(Debug)]
pub struct Replicas {
    state: Mutex<State>,
    chosen: watch::Sender<Option<Chosen>>,
    /// Notified when a session has ended: the addresses may have changed.
    pub(super) lost: Notify,
}

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<SocketAddr, Known>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Known {
    channel: Option<Channel>,
    is_listed: bool,
    is_ready: bool,
}

/// The replica that is asked.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    address: SocketAddr,
    pub(super) channel: Channel,
}

/// Events since the start, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) failovers: u64,
    pub(crate) lookup_errors: u64,
    pub(crate) session_errors: u64,
}

/// One replica, for its session. Dropping it ends the session.
#[derive(Debug)]
pub struct Replica {
    pub address: SocketAddr,
    replicas: Arc<Replicas>,
    settings: TlsSettings,
    connection: Connection,
}

impl Replicas {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), chosen: watch::Sender::new(None), lost: Notify::new() })
    }

    /// A single replica that is always asked.
    #[cfg(test)]
    pub(crate) fn fixed(channel: Channel) -> Arc<Self> {
        let replicas = Self::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        replicas.chosen.send_replace(Some(Chosen { address, channel }));
        replicas
    }

    pub(super) fn chosen(&self) -> watch::Receiver<Option<Chosen>> {
        self.chosen.subscribe()
    }

    /// Notes which addresses are listed now, and returns those that are new.
    pub(super) fn list(&self, listed: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut state = self.state.lock();
        for (address, known) in &mut state.known {
            known.is_listed = listed.contains(address);
        }
        let is_new = |address: &&SocketAddr| !state.known.contains_key(address);
        let new: Vec<_> = listed.iter().filter(is_new).copied().collect();
        for address in &new {
            state.known.insert(*address, Known { is_listed: true, ..Known::default() });
        }
        new
    }

    /// How many replicas are known, and how many of them are ready.
    pub(crate) fn count(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.known.len(), state.known.values().filter(|known| known.is_ready).count())
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    pub(super) fn lookup_failed(&self) {
        self.state.lock().counts.lookup_errors += 1;
    }

    fn ready(&self, address: SocketAddr, channel: &Channel) {
        let mut state = self.state.lock();
        let Some(known) = state.known.get_mut(&address) else { return };
        known.is_ready = true;
        known.channel = Some(channel.clone());
        self.choose(&mut state);
    }

    fn not_ready(&self, address: SocketAddr) {
        let mut state = self.state.lock();
        if let Some(known) = state.known.get_mut(&address) {
            known.is_ready = false;
            known.channel = None;
        }
        self.choose(&mut state);
        drop(state);
        self.lost.notify_one();
    }

    fn forget(&self, address: SocketAddr) {
        self.state.lock().known.remove(&address);
    }

    /// Locked throughout, so that two changes are not applied in the wrong order.
    fn choose(&self, state: &mut State) {
        let current = self.chosen.borrow().as_ref().map(|chosen| chosen.address);
        let is_ready = |address| state.known.get(address).is_some_and(|known| known.is_ready);
        if current.as_ref().is_some_and(is_ready) {
            return;
        }
        let ready =
            state.known.iter().filter_map(|(address, known)| Some((*address, known.channel.clone()?)));
        let next = ready.choose(&mut rand::rng()).map(|(address, channel)| Chosen { address, channel });
        match (&current, &next) {
            (Some(old), Some(new)) => {
                state.counts.failovers += 1;
                tracing::info!(%old, new = %new.address, "another replica of the control plane is asked from now on");
            }
            (None, Some(new)) => {
                tracing::info!(replica = %new.address, "a replica of the control plane is ready");
            }
            (Some(old), None) => tracing::warn!(%old, "no replica of the control plane is ready"),
            (None, None) => return,
        }
        self.chosen.send_replace(next);
    }
}

impl Replica {
    /// # Errors
    /// The expected identity cannot be a server's name.
    pub(super) fn new(
        address: SocketAddr,
        replicas: Arc<Replicas>,
        settings: TlsSettings,
    ) -> Result<Self, weft_api::secure::Error> {
        let connection = settings.connection(address)?;
        Ok(Self { address, replicas, settings, connection })
    }

    /// The connection to this replica, whether it is ready or not.
    pub fn channel(&self) -> &Channel {
        &self.connection.channel
    }

    /// It has said that it is ready.
    pub fn ready(&self) {
        self.replicas.ready(self.address, self.channel());
    }

    /// Its session has ended.
    pub fn lost(&self) {
        self.replicas.state.lock().counts.session_errors += 1;
        self.replicas.not_ready(self.address);
    }

    /// Whether the host of the control plane still has this address.
    pub fn is_listed(&self) -> bool {
        self.replicas.state.lock().known.get(&self.address).is_some_and(|known| known.is_listed)
    }

    /// Returns when the anchors have changed so that the replica's certificate would no longer be accepted.
    pub async fn distrusted(&self) {
        let mut anchors = self.settings.anchors.clone();
        let holds = |anchors: &Option<Anchors>| {
            anchors.as_ref().is_none_or(|anchors| self.connection.proven.holds_under(anchors))
        };
        while holds(&anchors.borrow_and_update().clone()) {
            if anchors.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Ends the connection with all its streams, and connects anew.
    pub fn reconnect(&mut self) {
        self.replicas.not_ready(self.address);
        match self.settings.connection(self.address) {
            Ok(connection) => std::mem::replace(&mut self.connection, connection).cut.cancel(),
            Err(error) => tracing::warn!(replica = %self.address, %error, "failed to connect anew"),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.replicas.not_ready(self.address);
        self.replicas.forget(self.address);
    }
}
