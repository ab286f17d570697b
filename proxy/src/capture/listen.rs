//! Opens the proxy's listeners in a pod's network namespace.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use weft_common::{INBOUND_PORT, OUTBOUND_PORT};

use super::Netns;
use crate::net::{self, Direction};

/// Connections that wait to be accepted, and half-open ones: the more there is room for, the later SYN cookies (which
/// forget TCP options) are needed. The namespace's own bound is lifted for the moment in which it counts.
const BACKLOG: i32 = 16384;
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// One listening socket in a pod's namespace.
#[derive(Debug)]
pub struct Listener {
    pub direction: Direction,
    /// Of the IPv6 pair.
    pub v6: bool,
    /// The socket, non-blocking.
    pub socket: OwnedFd,
}

/// A pod's listeners: outbound and inbound, IPv4 and (where the namespace has it) IPv6.
#[derive(Debug)]
pub struct Listeners(pub Vec<Listener>);

impl Listeners {
    /// Opens them on loopback of the namespace, where they cannot be reached from outside. A port that the
    /// application has taken is replaced by a free one.
    pub fn open(netns: &Netns) -> io::Result<Listeners> {
        netns.inside(|| {
            let _lifted = Lifted::new();
            let mut listeners = Vec::with_capacity(4);
            for (direction, port) in
                [(Direction::Outbound, OUTBOUND_PORT), (Direction::Inbound, INBOUND_PORT)]
            {
                for v6 in [false, true] {
                    match listen(v6, port) {
                        Ok(socket) => listeners.push(Listener { direction, v6, socket }),
                        // A namespace without IPv6 has nothing to capture there.
                        Err(error) if v6 && no_ipv6(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(Listeners(listeners))
        })
    }

    /// The port of a listener, host byte order; 0: there is none.
    pub fn port(&self, direction: Direction, v6: bool) -> u16 {
        self.get(direction, v6)
            .and_then(|socket| socket2::SockRef::from(&socket).local_addr().ok())
            .and_then(|addr| addr.as_socket())
            .map_or(0, |addr| addr.port())
    }

    /// A listener's socket.
    pub fn get(&self, direction: Direction, v6: bool) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|l| l.direction == direction && l.v6 == v6).map(|l| l.socket.as_fd())
    }
}

/// Lifts net.core.somaxconn of the calling thread's namespace while it lives. Where /proc/sys is read-only, the bound
/// stays as it is.
struct Lifted(Option<String>);

impl Lifted {
    fn new() -> Self {
        let before = std::fs::read_to_string(SOMAXCONN).ok();
        let lower = before.filter(|text| text.trim().parse::<i32>().is_ok_and(|bound| bound < BACKLOG));
        Lifted(lower.filter(|_| std::fs::write(SOMAXCONN, BACKLOG.to_string()).is_ok()))
    }
}

impl Drop for Lifted {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // It could be written a moment ago.
            let _ = std::fs::write(SOMAXCONN, before.trim());
        }
    }
}

fn listen(v6: bool, port: u16) -> io::Result<OwnedFd> {
    let (domain, localhost) = if v6 {
        (Domain::IPV6, Ipv6Addr::LOCALHOST.into())
    } else {
        (Domain::IPV4, Ipv4Addr::LOCALHOST.into())
    };
    let open = |port| -> io::Result<OwnedFd> {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if v6 {
            socket.set_only_v6(true)?;
        }
        // A predecessor's connections in TIME_WAIT do not stand in the way.
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(SocketAddr::new(localhost, port)))?;
        // Before listen(): connections that arrive at once inherit it too.
        net::tune(&socket)?;
        net::end_by_reset(&socket);
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(OwnedFd::from(socket))
    };
    match open(port) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => open(0),
        result => result,
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}
