//! Lists TCP sockets of a network namespace.
//!
//! NETLINK_SOCK_DIAG (sock_diag(7)): a dump of the namespace's sockets in that state.

use std::{io, net::SocketAddr, ops::ControlFlow};

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::{Netns, netlink};

/// The listening addresses in `netns` that a connection from outside could reach.
pub(super) fn listening(netns: &Netns) -> io::Result<Vec<SocketAddr>> {
    netns.inside(|| {
        let found = dump_both(StateFlags::LISTEN)?.into_iter().map(|(local, ..)| local);
        Ok(found.filter(|addr| !addr.ip().to_canonical().is_loopback()).collect())
    })
}

/// The ends and the cookies of connections to sockets in `netns` whose handshake is not over.
pub(super) fn half_open(netns: &Netns) -> io::Result<Vec<Found>> {
    // For an IPv6 listener, connections over IPv4 are listed as v4-mapped.
    let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let found = netns.inside(|| dump_both(StateFlags::SYN_RECV))?.into_iter();
    Ok(found.map(|(local, remote, cookie)| (canonical(local), canonical(remote), cookie)).collect())
}

/// A socket's own end, the other end, and its cookie.
type Found = (SocketAddr, SocketAddr, u64);

fn dump_both(states: StateFlags) -> io::Result<Vec<Found>> {
    let mut found = dump(AF_INET, SocketId::new_v4(), states.clone())?;
    found.extend(dump(AF_INET6, SocketId::new_v6(), states)?);
    Ok(found)
}

/// Sockets of one family that are looked at: a pod can open any number. Far more than are followed.
const MOST: usize = 65_536;

fn dump(family: u8, socket_id: SocketId, states: StateFlags) -> io::Result<Vec<Found>> {
    let request =
        InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::empty(), states, socket_id };
    let mut found = Vec::new();
    netlink::request(NETLINK_SOCK_DIAG, SockDiagMessage::InetRequest(request), NLM_F_DUMP, |answer| {
        if let SockDiagMessage::InetResponse(response) = answer {
            let id = &response.header.socket_id;
            let local = SocketAddr::new(id.source_address, id.source_port);
            let remote = SocketAddr::new(id.destination_address, id.destination_port);
            // Two words, the low one first.
            let [a, b, c, d, e, f, g, h] = id.cookie;
            let (low, high) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
            found.push((local, remote, u64::from(high) << 32 | u64::from(low)));
        }
        if found.len() < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(found)
}
