//! Collects the addresses that have opted in to splicing.
//!
//! A workload opts in for connections from workloads that opt in, too. A service opts in for all its clients, on its own
//! addresses and on those of its pods.

use std::{collections::BTreeMap, net::IpAddr};

use weft_api::node::{Splice, SpliceAddress};

use super::workload::ranges;
use crate::{
    index::{Endpoint, Splicing},
    settings::PortRange,
};

#[derive(Default)]
struct Ports {
    with_source: Vec<PortRange>,
    by_service: Vec<PortRange>,
}

/// The addresses of the whole cluster: a proxy also needs them for connections to other nodes.
pub(super) fn splice(splicing: &Splicing) -> Splice {
    let mut addresses: BTreeMap<IpAddr, Ports> = BTreeMap::new();
    for pod in splicing.pods.values() {
        for ip in &pod.ips {
            addresses.entry(*ip).or_default().with_source.extend(pod.config.splice_ports.ranges());
        }
    }
    for service in splicing.services.values() {
        for (port, endpoints) in service.ports() {
            let meshed = |endpoint: &&Endpoint| endpoint.pod.as_ref().is_some_and(|pod| pod.is_meshed());
            let opted_in = |endpoint: &Endpoint| {
                let pod = endpoint.pod.as_ref();
                pod.is_some_and(|pod| pod.config.splice_ports.contains(endpoint.addr.port()))
            };
            if service.splice_ports.contains(port) {
                for ip in &service.cluster_ips {
                    addresses.entry(*ip).or_default().by_service.push(PortRange::one(port));
                }
                for endpoint in endpoints.iter().filter(meshed) {
                    let ports = addresses.entry(endpoint.addr.ip()).or_default();
                    ports.by_service.push(PortRange::one(endpoint.addr.port()));
                }
            }
            if endpoints.iter().filter(meshed).any(opted_in) {
                for ip in &service.cluster_ips {
                    addresses.entry(*ip).or_default().with_source.push(PortRange::one(port));
                }
            }
        }
    }
    let address = |(ip, ports): (IpAddr, Ports)| SpliceAddress {
        ip: ip.to_string(),
        with_source: ranges(&ports.with_source.into_iter().collect()),
        by_service: ranges(&ports.by_service.into_iter().collect()),
    };
    Splice { addresses: addresses.into_iter().map(address).collect() }
}
