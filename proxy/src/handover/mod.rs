//! Hands listeners from an old proxy process to a new one, without a gap.
//!
//! The successor connects to the predecessor's socket, gets the listeners of all pods, serves them, and says so. Only
//! then the predecessor stops accepting and drains. If the successor dies before that, nothing has happened; if the
//! predecessor dies, the successor goes on with what it has. The socket keeps message boundaries (SOCK_SEQPACKET): one
//! message per pod, with its sockets, then an empty one.
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
/// How long the other side may be silent while listeners are handed over, and until the successor serves them.
const IO_TIMEOUT: Duration = Duration::from_secs(30);
/// Out of descriptors, accept() fails at once and for ever.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// How long a process that dies may take to close all its sockets.
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

    /// Tells the predecessor that its listeners are served, if it still lives.
    ///
    /// # Errors
    /// It has given this successor up, and serves on.
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

/// Whether nobody offers anything at `path` any more.
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

/// How far a handover is, seen from the predecessor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandoverState {
    /// No successor has asked.
    Idle,
    /// A successor has the listeners and does not serve all of them yet.
    InProgress,
    /// A successor serves.
    Completed,
}

/// Waits for a successor, on a thread of its own. `listeners` are what it gets; `resume` is called when it has not taken
/// over after all.
pub fn offer(
    state_dir: &Path,
    listeners: impl Fn() -> HashMap<u64, Arc<Listeners>> + Send + 'static,
    resume: impl Fn() + Send + 'static,
    state: Sender<HandoverState>,
) -> io::Result<()> {
    let path = state_dir.join(SOCKET);
    let waiting = listening(&path)?;
    std::thread::Builder::new().name("weft-handover".to_owned()).spawn(move || {
        loop {
            let successor = match accept4(waiting.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
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
    let mut word = [0; READY.len()];
    match nix::unistd::read(successor, &mut word)? {
        n if word.get(..n) == Some(READY) => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed before it was ready")),
    }
}

fn listening(path: &PathBuf) -> io::Result<OwnedFd> {
    let socket = seqpacket()?;
    // A predecessor's: it has given its listeners away, or is dead.
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
    use crate::capture::{Listener, Side};
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        os::fd::AsFd,
    };

    #[test]
    fn listeners_cross_over_and_the_old_one_is_told() {
        let state = tempfile::tempdir().unwrap();
        assert!(Predecessor::ask(state.path()).unwrap().is_none());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let socket = listener.as_fd().try_clone_to_owned().unwrap();
        let given = Arc::new(Listeners(vec![Listener { side: Side::Inbound, v6: true, socket }]));
        let handover = Sender::new(HandoverState::Idle);
        offer(state.path(), move || HashMap::from([(7, given.clone())]), || {}, handover.clone()).unwrap();

        // One that dies half-way changes nothing.
        drop(Predecessor::ask(state.path()).unwrap().unwrap());
        let mut predecessor = Predecessor::ask(state.path()).unwrap().unwrap();
        let mut got = predecessor.listeners.remove(&7).unwrap();
        let got = got.0.remove(0);
        assert_eq!((got.side, got.v6), (Side::Inbound, true));
        assert_eq!(*handover.borrow(), HandoverState::InProgress);
        predecessor.ready().unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while *handover.borrow() != HandoverState::Completed {
            assert!(std::time::Instant::now() < end);
            std::thread::yield_now();
        }

        drop(listener);
        let taken = TcpListener::from(got.socket);
        let client = TcpStream::connect(addr).unwrap();
        drop(taken.accept().unwrap());
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    }

    /// Somebody at the socket who does not do it as it should be done.
    fn at_socket(state: &Path) -> OwnedFd {
        listening(&state.join(SOCKET)).unwrap()
    }

    fn accept(socket: &OwnedFd) -> OwnedFd {
        wire::owned(accept4(socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC).unwrap())
    }

    #[test]
    fn a_predecessor_that_dies_while_it_hands_over_is_none() {
        let state = tempfile::tempdir().unwrap();
        let socket = at_socket(state.path());
        let asking = std::thread::scope(|scope| {
            let asking = scope.spawn(|| Predecessor::ask(state.path()));
            let asked = accept(&socket);
            drop((socket, asked));
            asking.join().unwrap()
        });
        assert!(asking.unwrap().is_none());

        // One that lives and gives nothing is not passed over.
        let socket = at_socket(state.path());
        let asking = std::thread::scope(|scope| {
            let asking = scope.spawn(|| Predecessor::ask(state.path()));
            drop(accept(&socket));
            asking.join().unwrap()
        });
        assert!(asking.is_err());
    }

    #[test]
    fn a_successor_learns_that_it_was_given_up_and_not_that_the_other_died() {
        let state = tempfile::tempdir().unwrap();
        for lives in [true, false] {
            let socket = at_socket(state.path());
            let (predecessor, asked) = std::thread::scope(|scope| {
                let asking = scope.spawn(|| Predecessor::ask(state.path()));
                let asked = accept(&socket);
                wire::end(&asked).unwrap();
                (asking.join().unwrap().unwrap().unwrap(), asked)
            });
            drop(asked);
            let socket = lives.then_some(socket);
            assert_eq!(predecessor.ready().is_err(), lives);
            drop(socket);
        }
    }
}
