//! On which addresses did applications listen before weft looked?
//!
//! NETLINK_SOCK_DIAG (sock_diag(7)): a dump of the namespace's listening TCP sockets.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

use super::Netns;

/// The listening addresses in `netns` that a connection from outside could reach.
pub(super) fn listening(netns: &Netns) -> io::Result<Vec<SocketAddr>> {
    netns.inside(|| {
        let mut found = dump(AF_INET, SocketId::new_v4())?;
        found.extend(dump(AF_INET6, SocketId::new_v6())?);
        found.retain(|addr| !addr.ip().to_canonical().is_loopback());
        Ok(found)
    })
}

/// Sockets of one family that are looked at: a pod can open any number. Far more than are followed.
const MOST: usize = 65_536;

fn dump(family: u8, socket_id: SocketId) -> io::Result<Vec<SocketAddr>> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::LISTEN,
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut found = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let size = socket.recv(&mut &mut buffer[..], 0)?;
        let mut rest = &buffer[..size];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    let id = &response.header.socket_id;
                    let ip: IpAddr = id.source_address;
                    found.push(SocketAddr::new(ip, id.source_port));
                    if found.len() >= MOST {
                        return Ok(found);
                    }
                }
                _ => {}
            }
            // Messages are aligned to 4 bytes (NLMSG_ALIGN).
            let length = (message.header.length as usize).next_multiple_of(4);
            match rest.get(length..) {
                Some(next) if length > 0 => rest = next,
                _ => break,
            }
        }
    }
}
