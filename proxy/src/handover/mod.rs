//! How does a new proxy relieve an old one without a gap?
//!
//! The successor connects to the old one's socket, is given the listeners of all pods, serves them, and says so;
//! only then the old one stops accepting and drains. If the successor dies before that, nothing has happened; if the old
//! one dies, the successor goes on with what it has.
//! Datagrams keep their bounds (SOCK_SEQPACKET): one for each pod, with its sockets, then an empty one.
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
/// Longest silence of the other side while listeners cross over, and until the successor serves them.
const PATIENCE: Duration = Duration::from_secs(30);
/// Without descriptors, accept() fails at once and for ever.
const BREATH: Duration = Duration::from_millis(200);
/// A process that dies closes its sockets one after the other.
const DYING: Duration = Duration::from_millis(100);

/// The successor's end: a predecessor is there and has given its listeners.
pub struct Relief {
    predecessor: OwnedFd,
    path: PathBuf,
    /// The pods' listeners by netns cookie.
    pub listeners: HashMap<u64, Listeners>,
}

impl Relief {
    /// Asks a proxy with the same state folder for its listeners. `None`: there is none (any more).
    pub fn ask(state_dir: &Path) -> io::Result<Option<Relief>> {
        let path = state_dir.join(SOCKET);
        let Some(predecessor) = reach(&path)? else { return Ok(None) };
        match take(&predecessor) {
            Ok(listeners) => Ok(Some(Relief { predecessor, path, listeners })),
            Err(_) if is_gone(&path)? => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells the predecessor that its listeners are served, if it still lives.
    ///
    /// # Errors
    /// It has given this successor up, and serves on.
    pub fn ready(self) -> io::Result<()> {
        match nix::unistd::write(&self.predecessor, READY) {
            Ok(_) => Ok(()),
            Err(_) if is_gone(&self.path)? => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The socket of the proxy that offers its listeners at `path`.
fn reach(path: &Path) -> io::Result<Option<OwnedFd>> {
    let predecessor = seqpacket()?;
    match connect(predecessor.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) => Ok(Some(predecessor)),
        Err(nix::Error::ENOENT | nix::Error::ECONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether nobody offers anything at `path` any more.
fn is_gone(path: &Path) -> io::Result<bool> {
    std::thread::sleep(DYING);
    Ok(reach(path)?.is_none())
}

fn take(predecessor: &OwnedFd) -> io::Result<HashMap<u64, Listeners>> {
    patient(predecessor)?;
    let mut listeners = HashMap::new();
    while let Some((cookie, of_pod)) = wire::receive(predecessor)? {
        listeners.insert(cookie, of_pod);
    }
    Ok(listeners)
}

/// How far a handover is, seen from the old proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nobody has asked.
    Alone,
    /// A successor has the listeners and does not serve all of them yet.
    Handing,
    /// A successor serves.
    Relieved,
}

/// Waits for a successor on a thread of its own. `listeners` are what it will be given; `serve_on` is called when
/// it has not taken over after all.
pub fn offer(
    state_dir: &Path,
    listeners: impl Fn() -> HashMap<u64, Arc<Listeners>> + Send + 'static,
    serve_on: impl Fn() + Send + 'static,
    progress: Sender<Progress>,
) -> io::Result<()> {
    let path = state_dir.join(SOCKET);
    let waiting = listening(&path)?;
    std::thread::Builder::new().name("weft-handover".to_owned()).spawn(move || {
        loop {
            let successor = match accept4(waiting.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
                Ok(fd) => wire::owned(fd),
                Err(error) => {
                    warn!(%error, "a successor could not be heard");
                    std::thread::sleep(BREATH);
                    continue;
                }
            };
            progress.send_replace(Progress::Handing);
            match hand_over(&successor, &listeners()) {
                Ok(()) => {
                    info!("a successor serves the workloads now");
                    progress.send_replace(Progress::Relieved);
                    return;
                }
                Err(error) => {
                    warn!(%error, "a successor did not take over; serving on");
                    serve_on();
                    progress.send_replace(Progress::Alone);
                }
            }
        }
    })?;
    Ok(())
}

fn hand_over(successor: &OwnedFd, listeners: &HashMap<u64, Arc<Listeners>>) -> io::Result<()> {
    patient(successor)?;
    info!(pods = listeners.len(), "handing the listeners to a successor");
    for (cookie, of_pod) in listeners {
        wire::send(successor, *cookie, of_pod)?;
    }
    wire::end(successor)?;
    let mut word = [0; READY.len()];
    match nix::unistd::read(successor, &mut word)? {
        n if word.get(..n) == Some(READY) => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it went away before it was ready")),
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

fn patient(socket: &OwnedFd) -> io::Result<()> {
    let limit = TimeVal::new(PATIENCE.as_secs() as i64, 0);
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
        assert!(Relief::ask(state.path()).unwrap().is_none());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let socket = listener.as_fd().try_clone_to_owned().unwrap();
        let given = Arc::new(Listeners(vec![Listener { side: Side::Inbound, v6: true, socket }]));
        let progress = Sender::new(Progress::Alone);
        offer(state.path(), move || HashMap::from([(7, given.clone())]), || {}, progress.clone()).unwrap();

        // One that dies half-way changes nothing.
        drop(Relief::ask(state.path()).unwrap().unwrap());
        let mut relief = Relief::ask(state.path()).unwrap().unwrap();
        let mut got = relief.listeners.remove(&7).unwrap();
        let got = got.0.remove(0);
        assert_eq!((got.side, got.v6), (Side::Inbound, true));
        assert_eq!(*progress.borrow(), Progress::Handing);
        relief.ready().unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while *progress.borrow() != Progress::Relieved {
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
            let asking = scope.spawn(|| Relief::ask(state.path()));
            let asked = accept(&socket);
            drop((socket, asked));
            asking.join().unwrap()
        });
        assert!(asking.unwrap().is_none());

        // One that lives and gives nothing is not passed over.
        let socket = at_socket(state.path());
        let asking = std::thread::scope(|scope| {
            let asking = scope.spawn(|| Relief::ask(state.path()));
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
            let (relief, asked) = std::thread::scope(|scope| {
                let asking = scope.spawn(|| Relief::ask(state.path()));
                let asked = accept(&socket);
                wire::end(&asked).unwrap();
                (asking.join().unwrap().unwrap().unwrap(), asked)
            });
            drop(asked);
            let socket = lives.then_some(socket);
            assert_eq!(relief.ready().is_err(), lives);
            drop(socket);
        }
    }
}
