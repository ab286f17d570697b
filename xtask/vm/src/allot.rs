//! Assigns addresses and nodes to pods and services whose manifests name none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Result};

/// The addresses of one node's pods: 10.244.N.0/24 and fd00:10:244:N::/64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeNet {
    /// 1 for the first node.
    pub number: u8,
}

impl NodeNet {
    /// The node's own address, which pods have as gateway.
    pub fn gateway4(self) -> Ipv4Addr {
        self.pod4(1)
    }

    /// The same for IPv6.
    pub fn gateway6(self) -> Ipv6Addr {
        self.pod6(1)
    }

    /// Its first IPv4 address; there are 256.
    pub(crate) fn range4(self) -> Ipv4Addr {
        self.pod4(0)
    }

    /// Its first IPv6 address, of 64 bits.
    pub(crate) fn range6(self) -> Ipv6Addr {
        self.pod6(0)
    }

    /// Whether the address is of this node's range.
    pub(crate) fn holds(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(v4) => v4.octets()[..3] == self.range4().octets()[..3],
            IpAddr::V6(v6) => v6.segments()[..4] == self.range6().segments()[..4],
        }
    }

    fn pod4(self, slot: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.number, slot)
    }

    fn pod6(self, slot: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x10, 0x244, self.number.into(), 0, 0, 0, slot.into())
    }
}

/// Whether the address is of the pods' network, 10.244.0.0/16 or fd00:10:244::/48.
pub(crate) fn in_pod_network(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[..2] == [10, 244],
        IpAddr::V6(v6) => v6.segments()[..3] == [0xfd00, 0x10, 0x244],
    }
}

/// The address families that a pod or service wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

impl Families {
    pub(crate) const DUAL: Self = Self { v4: true, v6: true };
}

/// Assigns numbers in turn, so that a freed one stays unused for as long as possible: a cached connection then does
/// not reach another pod.
#[derive(Debug, Default)]
struct Slots {
    used: BTreeSet<u16>,
    next: u16,
}

impl Slots {
    fn take(&mut self, first: u16, last: u16, usable: impl Fn(u16) -> bool) -> Option<u16> {
        let start = self.next.clamp(first, last);
        let slot =
            (start..=last).chain(first..start).find(|slot| !self.used.contains(slot) && usable(*slot))?;
        self.used.insert(slot);
        self.next = if slot == last { first } else { slot + 1 };
        Some(slot)
    }
}

/// The assigned addresses. Those that manifests fix are reserved first.
#[derive(Debug, Default)]
pub(crate) struct Allotter {
    pods: BTreeMap<u8, Slots>,
    services: Slots,
    reserved: BTreeSet<IpAddr>,
}

impl Allotter {
    /// Sets the addresses that manifests fix: they are never assigned.
    pub(crate) fn reserve(&mut self, ips: impl IntoIterator<Item = IpAddr>) {
        self.reserved = ips.into_iter().collect();
    }

    /// Addresses for a pod of the node, IPv4 first.
    pub(crate) fn pod(&mut self, node: NodeNet, families: Families) -> Result<Vec<IpAddr>> {
        let reserved = &self.reserved;
        let ips = |slot: u16| {
            // Bounded by the range below.
            let slot = slot.to_be_bytes()[1];
            pick(families, node.pod4(slot), node.pod6(slot))
        };
        self.pods
            .entry(node.number)
            .or_default()
            .take(2, 254, |slot| ips(slot).iter().all(|ip| !reserved.contains(ip)))
            .map(ips)
            .ok_or_else(|| Error::Exhausted(format!("10.244.{}.0/24", node.number)))
    }

    /// ClusterIPs for a service, IPv4 first.
    pub(crate) fn service(&mut self, families: Families) -> Result<Vec<IpAddr>> {
        let reserved = &self.reserved;
        let ips = |slot: u16| pick(families, service4(slot), service6(slot));
        self.services
            .take(1, u16::MAX - 1, |slot| ips(slot).iter().all(|ip| !reserved.contains(ip)))
            .map(ips)
            .ok_or_else(|| Error::Exhausted("10.96.0.0/16".to_owned()))
    }

    /// Frees the addresses of a pod or service; ignores those that were never assigned.
    pub(crate) fn free(&mut self, ips: &[IpAddr]) {
        for ip in ips {
            match ip {
                IpAddr::V4(v4) => match v4.octets() {
                    [10, 244, node, slot] => self.free_pod(node, slot.into()),
                    [10, 96, high, low] => {
                        self.services.used.remove(&u16::from_be_bytes([high, low]));
                    }
                    _ => {}
                },
                IpAddr::V6(v6) => match v6.segments() {
                    [0xfd00, 0x10, 0x244, node, 0, 0, 0, slot] => {
                        if let Ok(node) = u8::try_from(node) {
                            self.free_pod(node, slot);
                        }
                    }
                    [0xfd00, 0x10, 0x96, 0, 0, 0, 0, slot] => {
                        self.services.used.remove(&slot);
                    }
                    _ => {}
                },
            }
        }
    }

    fn free_pod(&mut self, node: u8, slot: u16) {
        if let Some(slots) = self.pods.get_mut(&node) {
            slots.used.remove(&slot);
        }
    }
}

/// The node with the fewest pods, the first of equals.
pub(crate) fn spread(nodes: &[String], pods_on: impl Fn(&str) -> usize) -> Option<&str> {
    nodes.iter().map(String::as_str).min_by_key(|node| pods_on(node))
}

fn pick(families: Families, v4: Ipv4Addr, v6: Ipv6Addr) -> Vec<IpAddr> {
    let v4 = families.v4.then_some(IpAddr::V4(v4));
    let v6 = families.v6.then_some(IpAddr::V6(v6));
    v4.into_iter().chain(v6).collect()
}

fn service4(slot: u16) -> Ipv4Addr {
    let [high, low] = slot.to_be_bytes();
    Ipv4Addr::new(10, 96, high, low)
}

fn service6(slot: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeNet = NodeNet { number: 2 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn pods_get_both_families_of_their_node() {
        let mut allotter = Allotter::default();
        assert_eq!(allotter.pod(NODE, Families::DUAL).unwrap(), [ip("10.244.2.2"), ip("fd00:10:244:2::2")]);
        let v6 = Families { v4: false, v6: true };
        assert_eq!(allotter.pod(NODE, v6).unwrap(), [ip("fd00:10:244:2::3")]);
    }

    #[test]
    fn addresses_that_manifests_name_are_not_allotted() {
        let mut allotter = Allotter::default();
        allotter.reserve([ip("10.244.2.2"), ip("fd00:10:244:2::3"), ip("10.96.0.1")]);
        assert_eq!(allotter.pod(NODE, Families::DUAL).unwrap()[0], ip("10.244.2.4"));
        assert_eq!(allotter.service(Families::DUAL).unwrap()[1], ip("fd00:10:96::2"));
    }

    #[test]
    fn a_freed_address_is_the_last_to_come_back() {
        let mut allotter = Allotter::default();
        let first = allotter.pod(NODE, Families::DUAL).unwrap();
        allotter.free(&first);
        for _ in 3..=254 {
            assert_ne!(allotter.pod(NODE, Families::DUAL).unwrap(), first);
        }
        assert_eq!(allotter.pod(NODE, Families::DUAL).unwrap(), first);
        assert!(matches!(allotter.pod(NODE, Families::DUAL), Err(Error::Exhausted(_))));
    }

    #[test]
    fn services_fill_the_third_byte_too() {
        let mut allotter = Allotter::default();
        let last = (0..300).map(|_| allotter.service(Families::DUAL).unwrap()).last().unwrap();
        assert_eq!(last[0], ip("10.96.1.44"));
        allotter.free(&last);
        assert!(!allotter.services.used.contains(&300));
    }

    #[test]
    fn pods_go_where_the_fewest_are() {
        let nodes = ["a".to_owned(), "b".to_owned()];
        assert_eq!(spread(&nodes, |_| 0), Some("a"));
        assert_eq!(spread(&nodes, |node| usize::from(node == "a")), Some("b"));
        assert_eq!(spread(&[], |_| 0), None);
    }
}
