//! Who accepts the connections of a workload?

use std::{io, net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch as channel,
    task::JoinSet,
};
use tracing::warn;

use super::Workload;
use crate::{
    app::Shared,
    capture::{Listeners, Side},
    inbound, outbound, tcp,
    threads::Worker,
};

/// Out of descriptors, accept() fails at once and for ever: wait for some to be returned.
const BREATH: Duration = Duration::from_millis(50);

/// The accept loops of one workload.
pub(super) struct Serving {
    stop: channel::Sender<bool>,
    loops: JoinSet<()>,
}

impl Serving {
    pub(super) fn start(
        shared: &Arc<Shared>,
        workload: &Arc<Workload>,
        listeners: &Listeners,
    ) -> io::Result<Self> {
        let stop = channel::Sender::new(false);
        let mut loops = JoinSet::new();
        let worker = shared.workers.next_worker();
        // Sockets belong to the runtime in which they are made.
        let _entered = worker.runtime().enter();
        for listener in &listeners.0 {
            let socket = std::net::TcpListener::from(listener.socket.as_fd().try_clone_to_owned()?);
            // For all connections at once; here, because a predecessor may have opened it.
            tcp::tune(&socket)?;
            // Also while nobody has said a word: that this process dies is not the server's answer.
            tcp::end_by_reset(&socket);
            let accept = Accept {
                listener: TcpListener::from_std(socket)?,
                side: listener.side,
                worker: worker.clone(),
                shared: shared.clone(),
                workload: workload.clone(),
            };
            loops.spawn(accept.run(stop.subscribe(), shared.draining.clone()));
        }
        Ok(Serving { stop, loops })
    }

    /// Connections that wait to be accepted are served still.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.loops.join_next().await.is_some() {}
    }
}

/// Resolves when the flag is true, or nobody can set it any more.
pub(super) async fn turned(flag: &mut channel::Receiver<bool>) {
    let _ = flag.wait_for(|on| *on).await.map(drop);
}

struct Accept {
    listener: TcpListener,
    side: Side,
    worker: Arc<Worker>,
    shared: Arc<Shared>,
    workload: Arc<Workload>,
}

impl Accept {
    async fn run(self, mut stop: channel::Receiver<bool>, mut draining: channel::Receiver<bool>) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.serve(stream, peer),
                    // tcp_abort: it listens no more, and never will again.
                    Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                        return self.workload.listener_lost();
                    }
                    Err(error) => self.failed(&error).await,
                },
                () = turned(&mut stop) => break,
                () = turned(&mut draining) => break,
            }
        }
        // Unconstrained: tokio would let other tasks have their turn after a while, which here looks like the end.
        let rest = async {
            while let Some(Ok((stream, peer))) = self.listener.accept().now_or_never() {
                self.serve(stream, peer);
            }
        };
        tokio::task::unconstrained(rest).await;
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let client = (self.side == Side::Inbound).then(|| peer.ip().to_canonical());
        let slot = match self.workload.share.take(client) {
            Ok(slot) => slot,
            Err(full) => {
                self.count(full.reason());
                if self.workload.throttle.admits(full.reason()) {
                    warn!(workload = %self.workload.key, side = ?self.side, client = client.map(tracing::field::display), reason = full.reason(), "refused: {full}");
                }
                return tcp::reset(stream);
            }
        };
        let (shared, workload, side) = (self.shared.clone(), self.workload.clone(), self.side);
        let connection = self.shared.connections.open();
        let assignment = self.shared.workers.assign(&self.worker);
        let stays = assignment.is_on(&self.worker);
        let moving = if stays { Ok(Accepted::Here(stream)) } else { stream.into_std().map(Accepted::There) };
        let Ok(stream) = moving else { return };
        let runtime = assignment.runtime().clone();
        runtime.spawn(async move {
            let Ok(stream) = stream.arrive() else { return };
            let work = async {
                match side {
                    Side::Outbound => outbound::serve(&shared, &workload, stream).await,
                    Side::Inbound => inbound::serve(&shared, &workload, stream).await,
                }
            };
            tokio::select! {
                () = work => {}
                () = workload.ended() => {}
            }
            drop((slot, connection, assignment));
        });
    }

    async fn failed(&self, error: &io::Error) {
        self.count("i/o");
        if self.workload.throttle.admits("accept") {
            warn!(workload = %self.workload.key, side = ?self.side, %error, "a connection could not be accepted");
        }
        tokio::time::sleep(BREATH).await;
    }

    fn count(&self, error: &'static str) {
        match self.side {
            Side::Outbound => self.shared.metrics.outbound_error(&self.workload.labels, error),
            Side::Inbound => self.shared.metrics.inbound_error(&self.workload.labels, error),
        }
    }
}

/// A connection on its way to its worker thread.
enum Accepted {
    Here(TcpStream),
    There(std::net::TcpStream),
}

impl Accepted {
    /// To be called on the worker thread.
    fn arrive(self) -> io::Result<TcpStream> {
        match self {
            Accepted::Here(stream) => Ok(stream),
            Accepted::There(stream) => TcpStream::from_std(stream),
        }
    }
}
