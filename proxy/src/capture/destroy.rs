//! How is a connection ended that does not go through the proxy?
//!
//! NETLINK_SOCK_DIAG, SOCK_DESTROY (sock_diag(7), kernel 4.9 with CONFIG_INET_DIAG_DESTROY): the socket's owner
//! gets ECONNABORTED, the other end a reset.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

use super::Netns;

const SOCK_DESTROY: u16 = 21;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// nlmsghdr and inet_diag_req_v2 (include/uapi/linux/inet_diag.h).
const LENGTH: usize = 16 + 56;

/// Ends the connections of these sockets: their ends, and the cookies that tell them from successors on the same
/// addresses. How many were ended; those that are gone already are not among them.
///
/// # Errors
/// The kernel cannot do that, or the namespace cannot be entered.
pub(super) fn destroy(netns: &Netns, sockets: &[(SocketAddr, SocketAddr, u64)]) -> io::Result<usize> {
    netns.inside(|| {
        let netlink = Socket::new(NETLINK_SOCK_DIAG)?;
        netlink.connect(&netlink_sys::SocketAddr::new(0, 0))?;
        let mut ended = 0;
        for (local, remote, cookie) in sockets {
            // The kernel looks for IPv4 connections of IPv6 sockets among IPv4's.
            netlink.send(&request(*local, *remote, *cookie), 0)?;
            match answer(&netlink)?.raw_os_error() {
                None | Some(0) => ended += 1,
                Some(libc::ENOENT) => {}
                Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
        Ok(ended)
    })
}

fn request(local: SocketAddr, remote: SocketAddr, cookie: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend((LENGTH as u32).to_ne_bytes());
    bytes.extend(SOCK_DESTROY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    // Sequence number and port: ours is the only message on the way.
    bytes.extend([0; 8]);
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    // All states.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    bytes.extend(address(local.ip()));
    bytes.extend(address(remote.ip()));
    // Any interface.
    bytes.extend([0; 4]);
    bytes.extend((cookie as u32).to_ne_bytes());
    bytes.extend(((cookie >> 32) as u32).to_ne_bytes());
    bytes
}

fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The kernel's answer; error 0 is its yes.
fn answer(netlink: &Socket) -> io::Result<io::Error> {
    let mut buffer = vec![0; 4096];
    let size = netlink.recv(&mut &mut buffer[..], 0)?;
    let word = |at: usize| -> Option<[u8; 4]> { buffer[..size].get(at..at + 4)?.try_into().ok() };
    let (Some([kind_low, kind_high, ..]), Some(code)) = (word(4), word(16)) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    if u16::from_ne_bytes([kind_low, kind_high]) != NLMSG_ERROR {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(io::Error::from_raw_os_error(-i32::from_ne_bytes(code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::sys::socket_cookie;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_request_has_the_kernels_layout() {
        let bytes =
            request("10.0.0.1:258".parse().unwrap(), "[::2]:3".parse().unwrap(), 0x0102_0304_0506_0708);
        assert_eq!(bytes.len(), LENGTH);
        assert_eq!(bytes[24..28], [1, 2, 0, 3]);
        assert_eq!(bytes[28..32], [10, 0, 0, 1]);
        assert_eq!(bytes[59], 2);
        assert_eq!(bytes[64..68], 0x0506_0708u32.to_ne_bytes());
    }

    #[test]
    fn only_the_socket_with_the_cookie_is_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let Ok(own) = Netns::open(std::path::Path::new("/proc/self/ns/net")) else { return };
        let cookie = socket_cookie(&stream).unwrap();
        let end =
            |cookie| destroy(&own, &[(stream.local_addr().unwrap(), stream.peer_addr().unwrap(), cookie)]);
        // Without rights, or on a kernel that destroys no sockets, there is nothing to see.
        let Ok(ended) = end(!cookie) else { return };
        assert_eq!(ended, 0);
        assert!(stream.take_error().unwrap().is_none());
        assert_eq!(end(cookie).unwrap(), 1);
        assert!(stream.take_error().unwrap().is_some());
    }
}
