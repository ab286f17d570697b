//! Listens at an address, also on a machine without IPv6.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::TcpListener;

/// Listens at `address`. If that is all addresses (`[::]`) and the machine has no IPv6, at all of IPv4.
///
/// # Errors
/// Those of `bind(2)`.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) => match without_v6(address, &error) {
            Some(v4) => TcpListener::bind(v4).await,
            None => Err(error),
        },
        bound => bound,
    }
}

fn without_v6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let all = address.is_ipv6() && address.ip().is_unspecified();
    (all && error.raw_os_error() == Some(libc::EAFNOSUPPORT))
        .then(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_addresses_of_a_machine_without_ipv6_become_those_of_ipv4() {
        let no_ipv6 = io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
        let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE);
        let all: SocketAddr = "[::]:8086".parse().expect("an address");
        assert_eq!(without_v6(all, &no_ipv6), Some(SocketAddr::from(([0, 0, 0, 0], 8086))));
        assert_eq!(without_v6(all, &in_use), None);
        let loopback: SocketAddr = "[::1]:8086".parse().expect("an address");
        assert_eq!(without_v6(loopback, &no_ipv6), None);
    }
}
