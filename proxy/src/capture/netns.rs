//! Opens a pod's network namespace and runs code in it.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::sched::{CloneFlags, setns};

use super::{CaptureError, sys};

/// A network namespace, held open. Holding it keeps the namespace alive: drop it when the pod is gone.
#[derive(Clone, Debug)]
pub struct Netns {
    fd: Arc<OwnedFd>,
    cookie: u64,
    inode: u64,
    path: PathBuf,
}

impl Netns {
    /// Opens the namespace at `path` (`/proc/PID/ns/net`, or where it is bind-mounted).
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let file = File::open(path).map_err(CaptureError::path("open network namespace", path))?;
        let inode = file.metadata().map_err(CaptureError::path("stat network namespace", path))?.ino();
        let fd = Arc::new(OwnedFd::from(file));
        // Any socket of the namespace tells its cookie.
        let cookie = inside(fd.as_fd(), || {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|s| sys::netns_cookie(&s))
        })
        .map_err(CaptureError::path("enter network namespace", path))?;
        Ok(Netns { fd, cookie, inode, path: path.to_owned() })
    }

    /// What the kernel side knows it by; never used again, unlike the inode.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Its file's inode. Another namespace may have it later.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether listening sockets inside take TCP Fast Open connections (net.ipv4.tcp_fastopen, bit 2).
    pub fn takes_fast_open(&self) -> bool {
        // The sysctl shows the value of the reading thread's namespace.
        self.inside(|| std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen"))
            .is_ok_and(|value| value.trim().parse::<u32>().is_ok_and(|bits| bits & 2 != 0))
    }

    /// How many ports the kernel chooses from for connections (net.ipv4.ip_local_port_range; IPv6 has the same).
    pub(super) fn ephemeral_ports(&self) -> Option<u32> {
        let range = self.inside(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")).ok()?;
        let mut bounds = range.split_whitespace().map(|bound| bound.parse::<u32>().ok());
        let (low, high) = (bounds.next()??, bounds.next()??);
        (high + 1).checked_sub(low)
    }

    /// Whether the path still leads to this namespace: if not, the pod is gone or another one.
    pub fn is_current(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|now| now.ino() == self.inode)
    }

    /// Runs `f` inside, on a thread of its own that ends: no other code ever runs in a foreign namespace.
    ///
    /// # Errors
    /// Those of entering and of `f`.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        inside(self.fd.as_fd(), f)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn inside<T: Send>(netns: BorrowedFd<'_>, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("weft-netns".to_owned()).spawn_scoped(scope, || {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
            f()
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}
