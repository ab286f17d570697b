//! Hands listeners from an old proxy process to a new one, without interruption.
//!
//! The successor connects to the predecessor's socket, receives the listeners of all pods, serves them, and reports
//! that it is ready. Only then does the predecessor stop accepting and drain. If the successor dies before that, the
//! predecessor continues; if the predecessor dies, the successor continues with the listeners it has. The socket keeps
//! message boundaries (SOCK_SEQPACKET): one message per pod, with its sockets, then an empty one.
#![forbid(unsafe_code)]

mod wire;

use std::{
    collections::HashMap,
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, connect, listen, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use tokio::sync::watch::Sender;
use tracing::{info, warn};

use crate::capture::Listeners;

const SOCKET: &str = "handover.sock";
const READY: &[u8] = b"ready";
/// How long one side waits for the other's next message, including the successor's report that it is ready.
const IO_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a failed accept(): without free descriptors, it fails at once each time.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// How long a dying process may take to close its sockets.
const EXIT_TIME: Duration = Duration::from_millis(100);

/// A running proxy that has handed over its listeners, seen from its successor.
pub struct Predecessor {
    socket: OwnedFd,
    path: PathBuf,
    /// The pods' listeners by netns cookie.
    pub listeners: HashMap<u64, Listeners>,
}

impl Predecessor {
    /// Asks the proxy with the same state folder for its listeners; `None` if there is none.
    pub fn ask(state_dir: &Path) -> io::Result<Option<Predecessor>> {
        let path = state_dir.join(SOCKET);
        let Some(predecessor) = connect_to(&path)? else { return Ok(None) };
        match receive_all(&predecessor) {
            Ok(listeners) => Ok(Some(Predecessor { socket: predecessor, path, listeners })),
            Err(_) if has_exited(&path)? => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reports to the predecessor that its listeners are served. It may have exited.
    ///
    /// # Errors
    /// The predecessor no longer waits for this successor, and continues to serve.
    pub fn ready(&self) -> io::Result<()> {
        match nix::unistd::write(&self.socket, READY) {
            Ok(_) => Ok(()),
            Err(_) if has_exited(&self.path)? => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The socket of the proxy that offers its listeners at `path`.
fn connect_to(path: &Path) -> io::Result<Option<OwnedFd>> {
    let predecessor = seqpacket()?;
    match connect(predecessor.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(Some(predecessor)),
        Err(nix::Error::ENOENT | nix::Error::ECONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether no process listens at `path` any more.
fn has_exited(path: &Path) -> io::Result<bool> {
    std::thread::sleep(EXIT_TIME);
    Ok(connect_to(path)?.is_none())
}

fn receive_all(predecessor: &OwnedFd) -> io::Result<HashMap<u64, Listeners>> {
    set_timeouts(predecessor)?;
    let mut listeners = HashMap::new();
    while let Some((cookie, of_pod)) = wire::receive(predecessor)? {
        listeners.insert(cookie, of_pod);
    }
    Ok(listeners)
}

/// The state of a handover, seen from the predecessor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandoverState {
    /// There is no successor.
    Idle,
    /// A successor receives the listeners, but does not serve all of them yet.
    InProgress,
    /// A successor serves.
    Completed,
}

/// Starts a thread that waits for a successor and hands it the `listeners`. Calls `resume` if the successor fails to
/// take over.
pub fn offer(
    state_dir: &Path,
    listeners: impl Fn() -> HashMap<u64, Arc<Listeners>> + Send + 'static,
    resume: impl Fn() + Send + 'static,
    state: Sender<HandoverState>,
) -> io::Result<()> {
    let path = state_dir.join(SOCKET);
    let listener = listen_at(&path)?;
    std::thread::Builder::new().name("weft-handover".to_owned()).spawn(move || {
        loop {
            let successor = match accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
                Ok(fd) => wire::owned(fd),
                Err(error) => {
                    warn!(%error, "failed to accept a successor");
                    std::thread::sleep(ACCEPT_RETRY);
                    continue;
                }
            };
            state.send_replace(HandoverState::InProgress);
            match hand_over(&successor, &listeners()) {
                Ok(()) => {
                    info!("a successor serves the workloads now");
                    state.send_replace(HandoverState::Completed);
                    return;
                }
                Err(error) => {
                    warn!(%error, "a successor did not take over; continuing to serve");
                    resume();
                    state.send_replace(HandoverState::Idle);
                }
            }
        }
    })?;
    Ok(())
}

fn hand_over(successor: &OwnedFd, listeners: &HashMap<u64, Arc<Listeners>>) -> io::Result<()> {
    set_timeouts(successor)?;
    info!(pods = listeners.len(), "handing the listeners to a successor");
    for (cookie, of_pod) in listeners {
        wire::send(successor, *cookie, of_pod)?;
    }
    wire::end(successor)?;
    let mut answer = [0; READY.len()];
    match nix::unistd::read(successor, &mut answer)? {
        n if answer.get(..n) == Some(READY) => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the successor closed the connection before it was ready",
        )),
    }
}

fn listen_at(path: &PathBuf) -> io::Result<OwnedFd> {
    let socket = seqpacket()?;
    // Removes the predecessor's socket: it has handed over its listeners, or is dead.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    listen(&socket, Backlog::new(1)?)?;
    Ok(socket)
}

fn seqpacket() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?)
}

fn set_timeouts(socket: &OwnedFd) -> io::Result<()> {
    let limit = TimeVal::new(IO_TIMEOUT.as_secs() as i64, 0);
    setsockopt(socket, sockopt::ReceiveTimeout, &limit)?;
    setsockopt(socket, sockopt::SendTimeout, &limit)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capture::Listener, net::Direction};
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        os::fd::AsFd,
    };

    #[test]
    fn listeners_are_handed_over_and_the_predecessor_is_notified() {
        let state = tempfile::tempdir().unwrap();
        assert!(Predecessor::ask(state.path()).unwrap().is_none());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let socket = listener.as_fd().try_clone_to_owned().unwrap();
        let offered = Arc::new(Listeners(vec![Listener { direction: Direction::Inbound, v6: true, socket }]));
        let handover = Sender::new(HandoverState::Idle);
        offer(state.path(), move || HashMap::from([(7, offered.clone())]), || {}, handover.clone()).unwrap();

        // A successor that dies before it is ready has no effect.
        drop(Predecessor::ask(state.path()).unwrap().unwrap());
        let mut predecessor = Predecessor::ask(state.path()).unwrap().unwrap();
        let mut received = predecessor.listeners.remove(&7).unwrap();
        let received = received.0.remove(0);
        assert_eq!((received.direction, received.v6), (Direction::Inbound, true));
        assert_eq!(*handover.borrow(), HandoverState::InProgress);
        predecessor.ready().unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while *handover.borrow() != HandoverState::Completed {
            assert!(std::time::Instant::now() < end);
            std::thread::yield_now();
        }

        drop(listener);
        let taken_over = TcpListener::from(received.socket);
        let client = TcpStream::connect(addr).unwrap();
        drop(taken_over.accept().unwrap());
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    }

    /// The socket of a predecessor that the test plays.
    fn fake_predecessor(state: &Path) -> OwnedFd {
        listen_at(&state.join(SOCKET)).unwrap()
    }

    fn accept(socket: &OwnedFd) -> OwnedFd {
        wire::owned(accept4(socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC).unwrap())
    }

    #[test]
    fn a_predecessor_that_dies_during_the_handover_is_ignored() {
        let state = tempfile::tempdir().unwrap();
        let socket = fake_predecessor(state.path());
        let asking = std::thread::scope(|scope| {
            let asking = scope.spawn(|| Predecessor::ask(state.path()));
            let asked = accept(&socket);
            drop((socket, asked));
            asking.join().unwrap()
        });
        assert!(asking.unwrap().is_none());

        // A predecessor that is alive but sends no listeners is an error.
        let socket = fake_predecessor(state.path());
        let asking = std::thread::scope(|scope| {
            let asking = scope.spawn(|| Predecessor::ask(state.path()));
            drop(accept(&socket));
            asking.join().unwrap()
        });
        assert!(asking.is_err());
    }

    #[test]
    fn ready_fails_only_if_the_predecessor_is_alive() {
        let state = tempfile::tempdir().unwrap();
        for is_alive in [true, false] {
            let socket = fake_predecessor(state.path());
            let (predecessor, asked) = std::thread::scope(|scope| {
                let asking = scope.spawn(|| Predecessor::ask(state.path()));
                let asked = accept(&socket);
                wire::end(&asked).unwrap();
                (asking.join().unwrap().unwrap().unwrap(), asked)
            });
            drop(asked);
            let socket = is_alive.then_some(socket);
            assert_eq!(predecessor.ready().is_err(), is_alive);
            drop(socket);
        }
    }
}
