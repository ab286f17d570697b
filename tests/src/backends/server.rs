//! A listening socket inside a pod, and the counts of its connections.

use std::{
    fmt::Display,
    io,
    net::{Shutdown, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Result, ensure};
use socket2::{Domain, SockRef, Socket, Type};

use super::behaviour::{Accepted, Behaviour};
use crate::{dial, netns::Netns, wait};

/// A listening socket and the threads that serve it. It stops listening when dropped.
pub struct Server {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    accepted: AtomicU64,
    finished: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Server {
    /// Listens on `address` inside `netns` (`[::]` takes IPv4 as well) and serves each connection on its own thread.
    pub fn start(netns: &Netns, address: SocketAddr, behaviour: Behaviour) -> Result<Self> {
        let listener = Arc::new(netns.run(|| listen(address))??);
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let accepting = (listener.clone(), seen.clone());
        thread::Builder::new()
            .name(format!("serve-{}", address.port()))
            .spawn(move || accept_all(&accepting.0, &accepting.1, &behaviour))?;
        Ok(Self { listener, address, seen })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of connections that accept() returned.
    pub fn accepted(&self) -> u64 {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    /// The number of connections that have ended, with or without an error.
    pub fn finished(&self) -> u64 {
        self.seen.finished.load(Ordering::SeqCst)
    }

    /// Waits until there were connections and all have ended; fails if one failed on the server's side.
    pub fn no_failures(&self) -> Result<()> {
        wait::until("the server had connections and all have ended", || {
            let accepted = self.accepted();
            accepted > 0 && self.finished() == accepted
        })?;
        let failures = self.failures();
        let (failed, accepted) = (failures.len(), self.accepted());
        ensure!(
            failures.is_empty(),
            "{failed} of the server's {accepted} connections failed: {:?}",
            failures[0]
        );
        Ok(())
    }

    /// Fails if there was a connection.
    pub fn untouched(&self) -> Result<()> {
        ensure!(self.accepted() == 0, "the application saw {} connections", self.accepted());
        Ok(())
    }

    /// The errors of connections so far.
    pub fn failures(&self) -> Vec<String> {
        self.seen.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also wakes the thread that waits in accept().
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
    }
}

impl Seen {
    fn failed(&self, why: impl Display) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(why.to_string());
    }
}

/// Opens a listening socket in the namespace of the calling thread.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // "[::]" then serves both families; other addresses cannot anyway.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into()).map_err(|e| io::Error::new(e.kind(), format!("bind {address}: {e}")))?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn accept_all(listener: &TcpListener, seen: &Arc<Seen>, behaviour: &Behaviour) {
    while let Ok((stream, peer)) = listener.accept() {
        seen.accepted.fetch_add(1, Ordering::SeqCst);
        let (serving, behaviour) = (seen.clone(), behaviour.clone());
        let spawned = thread::Builder::new().stack_size(STACK).spawn(move || {
            let served = dial::with_timeouts(stream).and_then(|stream| behaviour(&Accepted { stream, peer }));
            if let Err(e) = served {
                serving.failed(format_args!("{peer}: {e}"));
            }
            serving.finished.fetch_add(1, Ordering::SeqCst);
        });
        if let Err(e) = spawned {
            seen.failed(format_args!("no thread for {peer}: {e}"));
            seen.finished.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Small, because thousands of connections have a thread each.
const STACK: usize = 256 << 10;
