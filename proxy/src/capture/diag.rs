//! Lists TCP sockets of a network namespace.
//!
//! NETLINK_SOCK_DIAG (sock_diag(7)): a dump of the namespace's sockets in that state.

use std::{io, mem::offset_of, net::SocketAddr, ops::ControlFlow, time::Duration};

use libc::tcp_info;
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::{Netns, netlink};

/// A TCP socket, as the kernel lists it.
#[derive(Clone, Copy, Debug)]
pub struct TcpSocket {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Tells it from later sockets with the same addresses.
    pub cookie: u64,
}

/// The listening addresses in `netns` that a connection from outside could reach.
pub(super) fn listening(netns: &Netns) -> io::Result<Vec<SocketAddr>> {
    netns.inside(|| {
        let found = dump_both(StateFlags::LISTEN)?.into_iter().map(|socket| socket.local);
        Ok(found.filter(|addr| !addr.ip().to_canonical().is_loopback()).collect())
    })
}

/// Connections to sockets in `netns` whose handshake is not over.
pub(super) fn half_open(netns: &Netns) -> io::Result<Vec<TcpSocket>> {
    let found = netns.inside(|| dump_both(StateFlags::SYN_RECV))?;
    Ok(found.into_iter().map(TcpSocket::canonical).collect())
}

/// A connection, as the socket in the namespace knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpSocket,
    /// 0 if no process has the socket, as before accept().
    pub(super) inode: u32,
    /// `None` while it is being opened.
    pub(super) activity: Option<Activity>,
}

/// When a connection last carried data (`struct tcp_info`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    pub(super) since_sent: Duration,
    pub(super) since_received: Duration,
    /// Segments that the other end has not acknowledged.
    pub(super) unacknowledged: u32,
}

/// The connections in `netns` that are open, or being opened.
pub(super) fn connections(netns: &Netns) -> io::Result<Vec<Connection>> {
    let states =
        StateFlags::ESTABLISHED | StateFlags::SYN_SENT | StateFlags::CLOSE_WAIT | StateFlags::FIN_WAIT2;
    netns.inside(|| {
        let mut found = Vec::new();
        for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
            dump(family, id, states.clone(), ExtensionFlags::INFO, |response| {
                let socket = TcpSocket::of(response).canonical();
                let (inode, activity) = (response.header.inode, activity(response));
                found.push(Connection { socket, inode, activity });
            })?;
        }
        Ok(found)
    })
}

fn activity(response: &InetResponse) -> Option<Activity> {
    /// `TCP_SYN_SENT` of include/net/tcp_states.h.
    const SYN_SENT: u8 = 2;
    let info = response.nlas.iter().find_map(|nla| match nla {
        Nla::TcpInfo(info) => Some(info.as_slice()),
        _ => None,
    })?;
    let number = |offset: usize| {
        let bytes = info.get(offset..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let milliseconds = |offset| Some(Duration::from_millis(number(offset)?.into()));
    let state = *info.get(offset_of!(tcp_info, tcpi_state))?;
    let activity = Activity {
        since_sent: milliseconds(offset_of!(tcp_info, tcpi_last_data_sent))?,
        since_received: milliseconds(offset_of!(tcp_info, tcpi_last_data_recv))?,
        unacknowledged: number(offset_of!(tcp_info, tcpi_unacked))?,
    };
    (state != SYN_SENT).then_some(activity)
}

fn dump_both(states: StateFlags) -> io::Result<Vec<TcpSocket>> {
    let mut found = Vec::new();
    for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let add = |response: &InetResponse| found.push(TcpSocket::of(response));
        dump(family, id, states.clone(), ExtensionFlags::empty(), add)?;
    }
    Ok(found)
}

/// Sockets of one family that are looked at: a pod can open any number. Far more than are followed.
const MOST: usize = 65_536;

fn dump(
    family: u8,
    socket_id: SocketId,
    states: StateFlags,
    extensions: ExtensionFlags,
    mut add: impl FnMut(&InetResponse),
) -> io::Result<()> {
    let request = InetRequest { family, protocol: IPPROTO_TCP, extensions, states, socket_id };
    let mut count = 0;
    netlink::request(NETLINK_SOCK_DIAG, SockDiagMessage::InetRequest(request), NLM_F_DUMP, |answer| {
        if let SockDiagMessage::InetResponse(response) = answer {
            add(&response);
            count += 1;
        }
        if count < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
}

impl TcpSocket {
    fn of(response: &InetResponse) -> Self {
        let id = &response.header.socket_id;
        // Two words, the low one first.
        let [a, b, c, d, e, f, g, h] = id.cookie;
        let (low, high) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
        Self {
            local: SocketAddr::new(id.source_address, id.source_port),
            remote: SocketAddr::new(id.destination_address, id.destination_port),
            cookie: u64::from(high) << 32 | u64::from(low),
        }
    }

    /// For an IPv6 socket, connections over IPv4 are listed as v4-mapped: with the IPv4 addresses.
    fn canonical(self) -> Self {
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Self { local: canonical(self.local), remote: canonical(self.remote), ..self }
    }
}
