//! Tells whether a connection was opened by the node itself, as the kubelet's health checks are.
//!
//! NETLINK_SOCK_DIAG (sock_diag(7)): the kernel is asked for the client's socket in the node's own network namespace.
//! An address proves less: packets of others may bear the node's, forged by a pod or put in by masquerading.

use std::{io, net::SocketAddr, ops::ControlFlow};

use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use parking_lot::Mutex;
use tracing::error;

use super::{Netns, netlink};

/// The state of a listener, which is found too if there is no connection.
const LISTENING: u8 = 10;

/// The connections of the node's own processes.
#[derive(Debug)]
pub struct NodeConnections {
    host: Netns,
    /// Belongs to the node's namespace, whichever thread uses it. `None`: to be opened.
    socket: Mutex<Option<Socket>>,
}

impl NodeConnections {
    pub fn new(host: Netns) -> Self {
        Self { host, socket: Mutex::default() }
    }

    /// Whether a socket of the node connects `client` to `target`. If the kernel does not say: no.
    pub fn hold(&self, client: SocketAddr, target: SocketAddr) -> bool {
        self.find(client, target).unwrap_or_else(|error| {
            error!(%client, addr = %target, %error, "failed to ask the kernel for a connection of the node; it does not count as a health check (does the kernel have CONFIG_INET_DIAG?)");
            false
        })
    }

    fn find(&self, client: SocketAddr, target: SocketAddr) -> io::Result<bool> {
        let mut socket = self.socket.lock();
        let open = match socket.take() {
            Some(open) => open,
            None => self.host.inside(|| netlink::socket(NETLINK_SOCK_DIAG))?,
        };
        let mut found = false;
        let asked = netlink::ask(&open, question(client, target), 0, |answer| {
            if let SockDiagMessage::InetResponse(response) = answer {
                let id = &response.header.socket_id;
                found = response.header.state != LISTENING
                    && is(client, id.source_address, id.source_port)
                    && is(target, id.destination_address, id.destination_port);
            }
            ControlFlow::Continue(())
        });
        match asked {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            _ => *socket = Some(open),
        }
        Ok(found)
    }
}

fn question(client: SocketAddr, target: SocketAddr) -> SockDiagMessage {
    let family = if client.is_ipv4() { AF_INET } else { AF_INET6 };
    let socket_id = SocketId {
        source_port: client.port(),
        destination_port: target.port(),
        source_address: client.ip(),
        destination_address: target.ip(),
        interface_id: 0,
        // Any.
        cookie: [0xff; 8],
    };
    let (extensions, states) = (ExtensionFlags::empty(), StateFlags::all());
    SockDiagMessage::InetRequest(InetRequest { family, protocol: IPPROTO_TCP, extensions, states, socket_id })
}

/// A socket that speaks IPv4 and IPv6 has mapped addresses.
fn is(addr: SocketAddr, ip: std::net::IpAddr, port: u16) -> bool {
    (addr.ip(), addr.port()) == (ip.to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_found_by_both_ends_and_a_listener_is_none() {
        let node = NodeConnections::new(Netns::open(std::path::Path::new("/proc/self/ns/net")).unwrap());
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let target = listener.local_addr().unwrap();
            let client = TcpStream::connect(target).unwrap();
            let from = client.local_addr().unwrap();
            assert!(node.hold(from, target), "{from} to {target}");
            let mut other = from;
            other.set_port(from.port() ^ 1);
            assert!(!node.hold(other, target), "{other} to {target}");
            assert!(!node.hold(target, other), "a listener");
            drop(client);
            assert!(
                node.find(other, target).is_ok(),
                "the socket is of use after a connection was not found"
            );
        }
    }
}
