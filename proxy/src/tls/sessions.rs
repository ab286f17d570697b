//! The session tickets with which a client can resume sessions.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use parking_lot::Mutex;
use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
};
use rustls_pki_types::ServerName;

/// The tickets that servers gave to one credential, by endpoint.
///
/// Only the process that issued a ticket can open it, and one identity often runs on several nodes: hence one queue
/// per endpoint. A ticket is used once and each connection brings a new one, so as many tickets are kept as
/// connections are opened at the same time, within the bounds below.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<Tickets>>);

#[derive(Default)]
struct Tickets {
    by_endpoint: HashMap<Key, VecDeque<Tls13ClientSessionValue>>,
    /// Oldest first; the front is dropped when the store is full.
    order: VecDeque<Key>,
}

type Key = (SocketAddr, ServerName<'static>);

impl Sessions {
    /// The setting with which connections to `endpoint` find their tickets.
    pub(crate) fn at(&self, endpoint: SocketAddr) -> Resumption {
        Resumption::store(Arc::new(Endpoint { sessions: self.clone(), endpoint }))
    }

    fn insert(&self, key: Key, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock();
        if !tickets.by_endpoint.contains_key(&key) {
            if tickets.order.len() >= MAX_ENDPOINTS
                && let Some(oldest) = tickets.order.pop_front()
            {
                tickets.by_endpoint.remove(&oldest);
            }
            tickets.order.push_back(key.clone());
        }
        let queue = tickets.by_endpoint.entry(key).or_default();
        if queue.len() >= MAX_TICKETS {
            queue.pop_front();
        }
        queue.push_back(ticket);
    }

    fn take(&self, key: &Key) -> Option<Tls13ClientSessionValue> {
        self.0.lock().by_endpoint.get_mut(key)?.pop_back()
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The tickets themselves are secrets.
        f.debug_struct("Tickets").field("endpoints", &self.order.len()).finish()
    }
}

#[derive(Debug)]
struct Endpoint {
    sessions: Sessions,
    endpoint: SocketAddr,
}

impl ClientSessionStore for Endpoint {
    // A ClientHello has key shares for X25519MLKEM768 and X25519. Only for a server with neither would a hint help.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    // TLS 1.2 is not used.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.sessions.insert((self.endpoint, name), ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.sessions.take(&(self.endpoint, name.clone()))
    }
}

/// A ticket costs about 2.5 KiB here (the ticket itself and the server's chain): 1.3 MiB per identity at most.
const MAX_ENDPOINTS: usize = 128;
const MAX_TICKETS: usize = 4;
