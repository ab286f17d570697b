//! A pool of sockets made in a pod's network namespace.
//!
//! A socket belongs to the namespace in which it is made. A thread enters the namespace and makes a batch; taking one is
//! a lock and a pop. Batches grow with demand, within the limits, and unused sockets are dropped.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;

use super::Netns;
use crate::{
    limits::{NodeLimiter, PooledPermit, Reclaimable},
    net,
};

const SMALLEST_BATCH: usize = 4;
const LARGEST_BATCH: usize = 128;

/// Unconnected, non-blocking TCP sockets of one namespace, tuned, and set to end by a reset.
#[derive(Debug)]
pub struct SocketPool {
    v4: Arc<FamilyPool>,
    v6: Arc<FamilyPool>,
}

#[derive(Debug)]
struct FamilyPool {
    netns: Netns,
    domain: Domain,
    limiter: Arc<NodeLimiter>,
    sockets: Mutex<Vec<(OwnedFd, PooledPermit)>>,
    batch: AtomicUsize,
    used: AtomicBool,
    filling: tokio::sync::Mutex<()>,
    /// Makes them: not the thread that needs one.
    runtime: Handle,
}

impl SocketPool {
    /// An empty pool; nothing is made until the first socket is taken. Call within a tokio runtime.
    pub fn new(netns: &Netns, limiter: &Arc<NodeLimiter>) -> Self {
        let pool = |domain| {
            let pool = Arc::new(FamilyPool {
                netns: netns.clone(),
                domain,
                limiter: limiter.clone(),
                sockets: Mutex::default(),
                batch: AtomicUsize::new(SMALLEST_BATCH),
                used: AtomicBool::new(false),
                filling: tokio::sync::Mutex::default(),
                runtime: Handle::current(),
            });
            let reclaimable: Arc<dyn Reclaimable> = pool.clone();
            limiter.register_pool(Arc::downgrade(&reclaimable));
            pool
        };
        SocketPool { v4: pool(Domain::IPV4), v6: pool(Domain::IPV6) }
    }

    /// A socket for addresses of one family.
    ///
    /// # Errors
    /// Those of socket(2): no descriptors or memory left.
    pub async fn take(&self, v6: bool) -> io::Result<OwnedFd> {
        let pool = if v6 { &self.v6 } else { &self.v4 };
        pool.used.store(true, Ordering::Relaxed);
        if let Some(socket) = pool.pop() {
            return Ok(socket);
        }
        let _filling = pool.filling.lock().await;
        if let Some((socket, _)) = pool.sockets.lock().pop() {
            return Ok(socket);
        }
        // The limits have room for the socket of every connection that they let in, whatever the pool holds.
        let made = pool.fill(1).await?;
        made.ok_or_else(|| io::Error::other("no socket was made"))
    }

    /// To be called now and then: drops what has not been asked for since the last call.
    pub fn trim(&self) {
        for pool in [&self.v4, &self.v6] {
            if !pool.used.swap(false, Ordering::Relaxed) {
                pool.reclaim();
            }
        }
    }
}

impl Reclaimable for FamilyPool {
    fn reclaim(&self) {
        let unused = std::mem::take(&mut *self.sockets.lock());
        self.batch.store(SMALLEST_BATCH, Ordering::Relaxed);
        drop(unused);
    }
}

impl FamilyPool {
    fn pop(self: &Arc<Self>) -> Option<OwnedFd> {
        let mut sockets = self.sockets.lock();
        let (socket, _) = sockets.pop()?;
        let low = sockets.len() < self.batch.load(Ordering::Relaxed) / 2;
        drop(sockets);
        if low && self.filling.try_lock().is_ok() {
            let pool = self.clone();
            self.runtime.spawn(async move {
                let _filling = pool.filling.lock().await;
                if pool.sockets.lock().len() < pool.batch.load(Ordering::Relaxed) / 2
                    && let Err(error) = pool.fill(0).await
                {
                    tracing::warn!(netns = pool.netns.cookie(), %error, "failed to refill the socket pool");
                }
            });
        }
        Some(socket)
    }

    fn make(&self) -> io::Result<OwnedFd> {
        let socket = Socket::new(self.domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        net::tune(&socket)?;
        net::end_by_reset(&socket);
        Ok(socket.into())
    }

    /// Makes as many as there is room for, `least` at least, and gives those to the caller (none or one).
    async fn fill(self: &Arc<Self>, least: usize) -> io::Result<Option<OwnedFd>> {
        let wanted = self.batch.load(Ordering::Relaxed);
        let count = self.limiter.pool_allowance(wanted).max(least);
        if count == 0 {
            return Ok(None);
        }
        // What there was no room for is not waited for by the next ones.
        let next = if count < wanted { count.max(SMALLEST_BATCH) } else { (count * 2).min(LARGEST_BATCH) };
        self.batch.store(next, Ordering::Relaxed);
        let pool = self.clone();
        let mut made = self
            .runtime
            .spawn_blocking(move || {
                pool.netns.inside(|| {
                    let mut made = Vec::with_capacity(count);
                    for _ in 0..count {
                        match pool.make() {
                            Ok(socket) => made.push(socket),
                            // Out of descriptors: some are better than none.
                            Err(_) if !made.is_empty() => break,
                            Err(error) => return Err(error),
                        }
                    }
                    Ok(made)
                })
            })
            .await
            .map_err(io::Error::other)??;
        let asked_for = if least > 0 { made.pop() } else { None };
        self.sockets.lock().extend(made.into_iter().map(|socket| (socket, self.limiter.pool_permit())));
        Ok(asked_for)
    }
}
