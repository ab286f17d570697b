//! Connections to endpoints, kept for the next request.
//!
//! There is one pool per worker thread: a connection stays on the thread that opened it, so a response does not wake a
//! second one (docs/decisions/0021-worker-threads.md). A connection opened from one pod's namespace never carries
//! another pod's requests.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::{
    body::Release,
    client::Used,
    failures::Failures,
    http1::Http1,
    http2::Http2,
    origin::Origin,
    settings::{HTTP1_IDLE, HTTP2_IDLE, MAX_HTTP2, MAX_IDLE},
};
use crate::{balance::EndpointTls, threads::current_worker, tls::Identity};

/// Whose connections these are, and where they go.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    /// The source pod's network namespace.
    pub(super) source: u64,
    pub(super) endpoint: SocketAddr,
    /// The identity that the endpoint has proven.
    pub(super) identity: Option<Identity>,
}

/// The pools of all workers.
pub(super) struct Pools {
    http1: Vec<Mutex<HashMap<Key, Vec<Http1>>>>,
    http2: Vec<Mutex<HashMap<Key, Arc<Shared>>>>,
}

/// The HTTP/2 connections to an endpoint: one, and more while it takes no more streams.
pub(super) struct Shared {
    /// With the time of their last use.
    current: Mutex<Vec<(Http2, Instant)>>,
    /// Held while a connection is opened: the others wait for it instead of opening their own.
    pub(super) opening: AsyncMutex<()>,
    /// The attempts that failed, also those of HTTP/1.
    pub(super) failures: Failures,
}

const SWEEP: Duration = Duration::from_secs(1);

impl Key {
    pub(super) fn new(source: u64, endpoint: SocketAddr, tls: Option<&EndpointTls>) -> Self {
        Self { source, endpoint, identity: tls.map(|tls| tls.identity.clone()) }
    }
}

impl Pools {
    pub(super) fn new(workers: usize) -> Arc<Self> {
        let workers = workers.max(1);
        Arc::new(Self {
            http1: (0..workers).map(|_| Mutex::default()).collect(),
            http2: (0..workers).map(|_| Mutex::default()).collect(),
        })
    }

    /// Takes an idle connection that is still `valid`, the one that was used last.
    pub(super) fn take(&self, key: &Key, valid: impl Fn(&Origin) -> bool) -> Option<Http1> {
        let mut pool = self.http1.get(current_worker())?.lock();
        let idle = pool.get_mut(key)?;
        while let Some(connection) = idle.pop() {
            if connection.is_usable() && valid(&connection.origin) {
                return Some(connection);
            }
        }
        None
    }

    pub(super) fn put(&self, key: Key, connection: Http1) {
        let Some(pool) = self.http1.get(current_worker()) else { return };
        let mut pool = pool.lock();
        let idle = pool.entry(key).or_default();
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }

    /// The place of the HTTP/2 connections to an endpoint.
    pub(super) fn shared(&self, key: &Key) -> Arc<Shared> {
        let worker = current_worker().min(self.http2.len() - 1);
        let mut pool = self.http2[worker].lock();
        if let Some(shared) = pool.get(key) {
            return shared.clone();
        }
        let shared = Arc::new(Shared::new());
        pool.insert(key.clone(), shared.clone());
        shared
    }

    /// Closes all connections of a pod that has gone away.
    pub(super) fn close_all_of(&self, source: u64) {
        for pool in &self.http1 {
            pool.lock().retain(|key, _| key.source != source);
        }
        for pool in &self.http2 {
            pool.lock().retain(|key, _| key.source != source);
        }
    }

    fn sweep(&self, now: Instant) {
        for pool in &self.http1 {
            pool.lock().retain(|_, idle| {
                let is_kept = |connection: &Http1| {
                    connection.is_usable()
                        && !connection.origin.has_left()
                        && now.saturating_duration_since(connection.idle_since) < HTTP1_IDLE
                };
                idle.retain(is_kept);
                !idle.is_empty()
            });
        }
        for pool in &self.http2 {
            pool.lock().retain(|_, shared| shared.sweep(now) || Arc::strong_count(shared) > 1);
        }
    }
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { current: Mutex::default(), opening: AsyncMutex::default(), failures: Failures::default() }
    }

    /// A connection that is still `valid` and has room for one more stream. `None`: another one is to be opened.
    pub(super) fn get(&self, valid: impl Fn(&Origin) -> bool) -> Option<Http2> {
        let mut current = self.current.lock();
        // Requests in flight keep a connection open until they are complete.
        current.retain(|(connection, _)| connection.is_usable() && valid(&connection.origin));
        let found = loop {
            let found = current.iter().position(|(connection, _)| connection.has_room()).or_else(|| {
                // As many as may be: requests wait for each other.
                let least =
                    current.iter().enumerate().min_by_key(|(_, (connection, _))| connection.in_flight());
                least.filter(|_| current.len() >= MAX_HTTP2).map(|(at, _)| at)
            })?;
            if current[found].0.is_open() {
                break found;
            }
            current.remove(found);
        };
        let (connection, used) = &mut current[found];
        *used = Instant::now();
        Some(connection.share())
    }

    /// Keeps a connection that was opened just now.
    pub(super) fn add(&self, connection: &Http2) {
        self.current.lock().push((connection.clone(), Instant::now()));
    }

    /// Closes what nobody has used for a while; false if nothing is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut current = self.current.lock();
        current.retain(|(connection, used)| {
            connection.is_usable()
                && !connection.origin.has_left()
                && (connection.in_flight() > 0 || now.saturating_duration_since(*used) < HTTP2_IDLE)
        });
        !current.is_empty() || self.failures.is_failing(now)
    }
}

/// A connection that is lent to a request. It is returned when the response is complete.
pub(super) struct ConnectionLease {
    connection: Used,
    to: LeasedFrom,
}

/// Where a connection is returned to.
pub(super) enum LeasedFrom {
    Pool(Arc<Pools>, Key),
    /// The connections for one client's connection.
    Client(Arc<Mutex<Vec<Http1>>>),
}

impl ConnectionLease {
    pub(super) fn new(connection: Used, to: LeasedFrom) -> Box<Self> {
        Box::new(Self { connection, to })
    }
}

impl Release for ConnectionLease {
    fn for_tunnel(self: Box<Self>) -> Option<Box<dyn Release>> {
        match self.connection {
            Used::Http1(_) => None,
            Used::Http2 { .. } => Some(self),
        }
    }

    fn release(self: Box<Self>) {
        let Self { connection: Used::Http1(mut connection), to } = *self else { return };
        if connection.is_usable() {
            connection.rest();
            return to.put(connection);
        }
        if connection.is_closed() {
            return;
        }
        // The end of the response has been read here before hyper's task has finished with it.
        tokio::spawn(async move {
            if connection.ready().await.is_ok() {
                connection.rest();
                to.put(connection);
            }
        });
    }
}

impl LeasedFrom {
    fn put(self, connection: Http1) {
        match self {
            Self::Pool(pools, key) => pools.put(key, connection),
            Self::Client(idle) => {
                let mut idle = idle.lock();
                if idle.len() < MAX_IDLE {
                    idle.push(connection);
                }
            }
        }
    }
}

/// Closes connections that nobody has used for a while or whose endpoint has left, until the pools are dropped.
pub(super) async fn close_idle(pools: Weak<Pools>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pools) = pools.upgrade() else { return };
        pools.sweep(Instant::now());
    }
}
