//! Finds out whether a pod's network link is shared with others.
//!
//! NETLINK_ROUTE (rtnetlink(7)). A pair of virtual interfaces, one end in the pod and one at the node, which routes,
//! carries a pod's packets to nobody else. On a bridge, a switch or a link to the outside, a pod with CAP_NET_RAW
//! (which container runtimes grant by default) can draw its neighbours' packets to itself by forged ARP answers.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::IpAddr,
    ops::ControlFlow,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
    nsid::{NsidAttribute, NsidMessage},
};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::{Netns, netlink};

/// Addresses of a namespace that are looked at: a pod can have any number.
const MOST: usize = 4_096;

/// Why others can, or may be able to, read and change the packets of a pod.
#[derive(Debug)]
pub enum NotIsolated {
    /// The pod's address is on none of its links.
    Nowhere(IpAddr),
    /// The link is not one of two ends of which the other one is at the node.
    Kind,
    /// The node's end belongs to a bridge, a switch or the like.
    Bridge {
        /// The node's name for its end.
        port: String,
    },
    /// The kernel gave no answer.
    Unknown(io::Error),
}

impl fmt::Display for NotIsolated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotIsolated::Nowhere(ip) => write!(f, "no link of the pod has the address {ip}"),
            NotIsolated::Kind => {
                f.write_str("the pod's link is no veth or netkit pair that ends at this node")
            }
            NotIsolated::Bridge { port } => {
                write!(f, "the node's end of the pod's link, {port}, is on a bridge")
            }
            NotIsolated::Unknown(error) => {
                write!(f, "failed to ask the kernel how the pod is linked: {error}")
            }
        }
    }
}

impl From<io::Error> for NotIsolated {
    fn from(error: io::Error) -> Self {
        NotIsolated::Unknown(error)
    }
}

impl Netns {
    /// The first of `ips` that no link in the namespace has.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn missing(&self, ips: &[IpAddr]) -> io::Result<Option<IpAddr>> {
        let present = self.inside(addresses)?;
        Ok(ips.iter().find(|ip| present.iter().all(|(address, _)| address != *ip)).copied())
    }

    /// Whether the links on which the pod has `ips` lead to `node` alone. As of now: networks of Kubernetes link a pod
    /// before they give it an address, and never link it anew.
    ///
    /// # Errors
    /// They do not, or the kernel could not be asked.
    pub fn has_links_of_its_own(&self, node: &Netns, ips: &[IpAddr]) -> Result<(), NotIsolated> {
        let mut other_ends = BTreeSet::new();
        let asked = self.inside(|| other_ends_at(node.as_fd(), ips, &mut other_ends));
        asked??;
        node.inside(|| Ok(other_ends.into_iter().try_for_each(at_the_node)))?
    }
}

/// The indices at `node` of the other ends of the links that have `ips`; runs in the pod.
fn other_ends_at(
    node: BorrowedFd<'_>,
    ips: &[IpAddr],
    found: &mut BTreeSet<u32>,
) -> io::Result<Result<(), NotIsolated>> {
    let id = namespace_id(node)?;
    let addresses = addresses()?;
    for ip in ips {
        let Some((_, index)) = addresses.iter().find(|(address, _)| address == ip) else {
            return Ok(Err(NotIsolated::Nowhere(*ip)));
        };
        let link = link(*index)?;
        let mut end = None;
        let mut is_there = false;
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::Link(index) => end = Some(*index),
                LinkAttribute::LinkNetNsId(of) => is_there = *of >= 0 && *of == id,
                _ => {}
            }
        }
        match end {
            Some(end) if is_there && is_pair(&link) => found.insert(end),
            _ => return Ok(Err(NotIsolated::Kind)),
        };
    }
    Ok(Ok(()))
}

/// What another end is; runs at the node.
fn at_the_node(index: u32) -> Result<(), NotIsolated> {
    let link = link(index)?;
    if !is_pair(&link) {
        return Err(NotIsolated::Kind);
    }
    let is_port = link.attributes.iter().any(|a| matches!(a, LinkAttribute::Controller(of) if *of != 0));
    if !is_port {
        return Ok(());
    }
    let name = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    });
    Err(NotIsolated::Bridge { port: name.unwrap_or_else(|| index.to_string()) })
}

fn is_pair(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => {
            infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth | InfoKind::Netkit)))
        }
        _ => false,
    })
}

/// What the calling thread's network namespace calls `other`; negative: it knows nothing that leads there.
fn namespace_id(other: BorrowedFd<'_>) -> io::Result<i32> {
    let mut request = NsidMessage::default();
    request.attributes.push(NsidAttribute::Fd(other.as_raw_fd().unsigned_abs()));
    let mut id = None;
    ask(RouteNetlinkMessage::GetNsId(request), 0, |answer| {
        if let RouteNetlinkMessage::NewNsId(answer) = answer {
            id = answer.attributes.into_iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(id) => Some(id),
                _ => None,
            });
        }
    })?;
    id.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Addresses and the indices of their links.
fn addresses() -> io::Result<Vec<(IpAddr, u32)>> {
    let mut found = Vec::new();
    ask(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP, |answer| {
        let RouteNetlinkMessage::NewAddress(answer) = answer else { return };
        for attribute in answer.attributes {
            // Of a point-to-point address, `Address` is the other end.
            if let AddressAttribute::Local(ip) | AddressAttribute::Address(ip) = attribute
                && found.len() < MOST
            {
                found.push((ip, answer.header.index));
            }
        }
    })?;
    Ok(found)
}

fn link(index: u32) -> io::Result<LinkMessage> {
    let mut request = LinkMessage::default();
    request.header.index = index;
    let mut found = None;
    ask(RouteNetlinkMessage::GetLink(request), 0, |answer| {
        if let RouteNetlinkMessage::NewLink(link) = answer {
            found = Some(link);
        }
    })?;
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn ask(
    message: RouteNetlinkMessage,
    flags: u16,
    mut each: impl FnMut(RouteNetlinkMessage),
) -> io::Result<()> {
    netlink::request(NETLINK_ROUTE, message, flags, |answer| {
        each(answer);
        ControlFlow::Continue(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_there_are_named() {
        let Ok(own) = Netns::open(std::path::Path::new("/proc/self/ns/net")) else { return };
        let (present, missing) = ("127.0.0.1".parse().unwrap(), "203.0.113.77".parse().unwrap());
        assert_eq!(own.missing(&[present]).unwrap(), None);
        assert_eq!(own.missing(&[present, missing]).unwrap(), Some(missing));
    }

    #[test]
    fn loopback_is_a_link_of_no_pair() {
        let Ok(own) = Netns::open(std::path::Path::new("/proc/self/ns/net")) else { return };
        let isolated = own.has_links_of_its_own(&own, &["127.0.0.1".parse().unwrap()]);
        assert!(matches!(isolated, Err(NotIsolated::Kind)), "{isolated:?}");
        let isolated = own.has_links_of_its_own(&own, &["203.0.113.77".parse().unwrap()]);
        assert!(matches!(isolated, Err(NotIsolated::Nowhere(_))), "{isolated:?}");
    }
}
