//! Closes connections that do not go through the proxy.
//!
//! NETLINK_SOCK_DIAG, SOCK_DESTROY (sock_diag(7), kernel 4.9 with CONFIG_INET_DIAG_DESTROY): the socket's owner
//! gets ECONNABORTED, the other end a reset.

use std::{io, ops::ControlFlow};

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_sock_diag::{
    SockDiagDestroy, SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::{Netns, diag::TcpSocket, netlink};

/// Ends the connections of these sockets. Returns how many were ended; those that are gone already are not among them.
///
/// # Errors
/// The kernel cannot do that, or the namespace cannot be entered.
pub(super) fn destroy(netns: &Netns, sockets: &[TcpSocket]) -> io::Result<usize> {
    netns.inside(|| {
        let mut ended = 0;
        for socket in sockets {
            // The kernel looks for IPv4 connections of IPv6 sockets among IPv4's.
            match destroy_one(socket) {
                Ok(()) => ended += 1,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    })
}

fn destroy_one(TcpSocket { local, remote, cookie }: &TcpSocket) -> io::Result<()> {
    let request = InetRequest {
        family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: remote.port(),
            source_address: local.ip(),
            destination_address: remote.ip(),
            // Any interface.
            interface_id: 0,
            cookie: words(*cookie),
        },
    };
    let message = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
    netlink::request(NETLINK_SOCK_DIAG, message, NLM_F_ACK, |_| ControlFlow::Continue(()))
}

/// Two words, the low one first.
fn words(cookie: u64) -> [u8; 8] {
    let mut words = [0; 8];
    words[..4].copy_from_slice(&(cookie as u32).to_ne_bytes());
    words[4..].copy_from_slice(&((cookie >> 32) as u32).to_ne_bytes());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::sys::socket_cookie;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn only_the_socket_with_the_cookie_is_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let Ok(own) = Netns::open(std::path::Path::new("/proc/self/ns/net")) else { return };
        let cookie = socket_cookie(&stream).unwrap();
        let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let end = |cookie| destroy(&own, &[TcpSocket { local, remote, cookie }]);
        // Without rights, or on a kernel that destroys no sockets, there is nothing to see.
        let Ok(ended) = end(!cookie) else { return };
        assert_eq!(ended, 0);
        assert!(stream.take_error().unwrap().is_none());
        assert_eq!(end(cookie).unwrap(), 1);
        assert!(stream.take_error().unwrap().is_some());
    }
}
