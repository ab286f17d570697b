//! Adds the local route that brings connections to IPv6 redirect targets to the pod's loopback interface.
//!
//! IPv6 has one loopback address where IPv4 has 127.0.0.0/8, so the pod's namespace is told that a prefix which nobody
//! else uses is local (rtnetlink(7)). The route stays when the pod leaves the mesh, because connections may go on.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    ops::ControlFlow,
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::protocols::NETLINK_ROUTE;
use weft_common::{Ip, RedirectTargets, V6_PREFIX_LENGTH};

use super::{Netns, netlink};

const LOCAL_TABLE: u8 = 255;
const LOOPBACK_DEVICE: u32 = 1;

/// Adds the route, or replaces the one that a predecessor added.
pub(super) fn add_route(netns: &Netns) -> io::Result<()> {
    netns.inside(|| {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        netlink::request(NETLINK_ROUTE, RouteNetlinkMessage::NewRoute(route()), flags, |_| {
            ControlFlow::Continue(())
        })
    })
}

fn route() -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet6;
    route.header.destination_prefix_length = V6_PREFIX_LENGTH;
    route.header.table = LOCAL_TABLE;
    route.header.protocol = RouteProtocol::Static;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Local;
    route.attributes = vec![
        RouteAttribute::Destination(IpAddr::from(prefix()).into()),
        RouteAttribute::Oif(LOOPBACK_DEVICE),
        // As a connection to ::1 has it.
        RouteAttribute::PrefSource(IpAddr::from(Ipv6Addr::LOCALHOST).into()),
    ];
    route
}

fn prefix() -> Ipv6Addr {
    let any = RedirectTargets::new(&[0; 2], 0, &Ip::ANY_V6, 0).v6();
    let IpAddr::V6(any) = IpAddr::from(any) else { return Ipv6Addr::UNSPECIFIED };
    Ipv6Addr::from_bits(any.to_bits() & u128::MAX << (128 - V6_PREFIX_LENGTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_holds_all_targets() {
        assert_eq!(prefix(), "fd6f:e8eb:6df7::".parse::<Ipv6Addr>().unwrap());
    }
}
