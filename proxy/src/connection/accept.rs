//! Accepts the connections of a workload and hands each to the steps of its direction.

use std::{io, net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{DataPath, accepted::Accepted, identify::identify, inbound, outbound};
use crate::{
    capture::Listeners,
    limits::Permit,
    net::{self, Direction},
    refusal::Reason,
    threads::Worker,
    workload::Workload,
};

/// Out of descriptors, accept() fails at once and for ever: wait for some to be returned.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// The accept loops of one workload.
pub struct Acceptors {
    stop: CancellationToken,
    loops: JoinSet<()>,
}

impl Acceptors {
    /// Starts to accept connections.
    ///
    /// # Errors
    /// A listener cannot be used.
    pub fn start(
        data_path: &Arc<DataPath>,
        workload: &Arc<Workload>,
        listeners: &Listeners,
    ) -> io::Result<Self> {
        let stop = data_path.draining.child_token();
        let mut loops = JoinSet::new();
        let worker = data_path.threads.next_worker();
        // Sockets belong to the runtime in which they are made.
        let _entered = worker.runtime().enter();
        for listener in &listeners.0 {
            let socket = std::net::TcpListener::from(listener.socket.as_fd().try_clone_to_owned()?);
            // Here and not where it was opened: a predecessor may have opened it.
            net::tune(&socket)?;
            // Also before the first byte: if this process dies, that must not look like the server's answer.
            net::end_by_reset(&socket);
            let acceptor = Acceptor {
                listener: TcpListener::from_std(socket)?,
                direction: listener.direction,
                worker: worker.clone(),
                data_path: data_path.clone(),
                workload: workload.clone(),
            };
            loops.spawn(acceptor.run(stop.clone()));
        }
        Ok(Self { stop, loops })
    }

    /// Stops accepting. Connections that were waiting to be accepted are still served.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.loops.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

struct Acceptor {
    listener: TcpListener,
    direction: Direction,
    worker: Arc<Worker>,
    data_path: Arc<DataPath>,
    workload: Arc<Workload>,
}

impl Acceptor {
    async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.accept(stream, peer),
                    // tcp_abort(): the socket does not listen any more, and never will again.
                    Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                        return self.workload.listener_lost.notify_one();
                    }
                    Err(error) => self.failed(&error).await,
                },
                () = stop.cancelled() => break,
            }
        }
        // Unconstrained: tokio would make accept() pending after a while to let other tasks run, which here would look
        // like an empty queue.
        let rest = async {
            while let Some(Ok((stream, peer))) = self.listener.accept().now_or_never() {
                self.accept(stream, peer);
            }
        };
        tokio::task::unconstrained(rest).await;
    }

    /// Takes a place in the limits and moves the connection to the thread that will serve it.
    fn accept(&self, stream: TcpStream, peer: SocketAddr) {
        let client = (self.direction == Direction::Inbound).then(|| peer.ip().to_canonical());
        let permit = match self.workload.limiter.acquire(client) {
            Ok(permit) => permit,
            Err(exceeded) => {
                let reason = exceeded.reason();
                self.refused(reason);
                if self.workload.log_limiter.allow(reason.as_str()) {
                    warn!(workload = %self.workload.key, direction = %self.direction, client = client.map(tracing::field::display), %reason, "refused: {exceeded}");
                }
                return net::reset(stream);
            }
        };
        let assignment = self.data_path.threads.assign(&self.worker);
        let stream = if assignment.is_on(&self.worker) {
            InTransit::SameThread(stream)
        } else {
            let Ok(stream) = stream.into_std() else { return };
            InTransit::OtherThread(stream)
        };
        let open = self.data_path.connections.token();
        let (data_path, workload) = (self.data_path.clone(), self.workload.clone());
        let direction = self.direction;
        assignment.runtime().clone().spawn(async move {
            let Ok(stream) = stream.arrive() else { return };
            let terminated = workload.clone();
            tokio::select! {
                () = serve(&data_path, workload, direction, stream, permit) => {}
                () = terminated.terminated.cancelled() => {}
            }
            drop((open, assignment));
        });
    }

    async fn failed(&self, error: &io::Error) {
        self.refused(Reason::Io);
        if self.workload.log_limiter.allow("accept") {
            warn!(workload = %self.workload.key, direction = %self.direction, %error, "a connection could not be accepted");
        }
        tokio::time::sleep(ACCEPT_RETRY).await;
    }

    fn refused(&self, reason: Reason) {
        self.data_path.metrics.refused(self.direction, &self.workload.labels, reason);
    }
}

async fn serve(
    data_path: &DataPath,
    workload: Arc<Workload>,
    direction: Direction,
    stream: TcpStream,
    permit: Permit,
) {
    let Some(ends) = identify(data_path, &workload, direction, &stream) else {
        data_path.metrics.refused(direction, &workload.labels, Reason::NoOriginalDestination);
        return net::reset(stream);
    };
    let accepted = Accepted::new(workload, ends, permit);
    match direction {
        Direction::Outbound => outbound::serve(data_path, accepted, stream).await,
        Direction::Inbound => inbound::serve(data_path, accepted, stream).await,
    }
}

/// A connection on its way to its thread.
enum InTransit {
    SameThread(TcpStream),
    OtherThread(std::net::TcpStream),
}

impl InTransit {
    /// To be called on the thread that serves the connection.
    fn arrive(self) -> io::Result<TcpStream> {
        match self {
            InTransit::SameThread(stream) => Ok(stream),
            InTransit::OtherThread(stream) => TcpStream::from_std(stream),
        }
    }
}
