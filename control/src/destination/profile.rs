//! Tells a client what an address or name is: a service, a pod, or something outside the cluster.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use weft_api::linkerd::destination::{DestinationProfile, RetryBudget};

use super::{
    address::{Describer, resource},
    authority::{Authority, ServiceName},
};
use crate::index::{Cluster, Endpoint, Place, Pod, Service, Topic};

/// The profile of one destination, for one client.
#[derive(Debug)]
pub(super) struct Profile {
    authority: Authority,
    describer: Describer,
    sent: Option<DestinationProfile>,
}

impl Profile {
    pub(super) fn new(authority: Authority, describer: Describer) -> Self {
        Self { authority, describer, sent: None }
    }

    /// False for a pod of a headless service that does not exist. A service may be created later, and an address always
    /// exists.
    pub(super) fn exists(&self, cluster: &Cluster) -> bool {
        match &self.authority {
            Authority::Service { service: name @ ServiceName { hostname: Some(_), .. }, port } => {
                instance(cluster, name, *port).is_some()
            }
            _ => true,
        }
    }

    /// What the profile depends on.
    pub(super) fn topics(&self) -> Vec<Topic> {
        let zone = self.describer.client_node().map(|node| Topic::Zone(node.to_owned()));
        let of_name = match &self.authority {
            Authority::Address(address) => Topic::Address(address.ip()),
            Authority::Service { service: ServiceName { name, hostname: Some(_) }, .. } => {
                Topic::Endpoints(name.clone())
            }
            Authority::Service { service, .. } => Topic::Service(service.name.clone()),
        };
        [of_name].into_iter().chain(zone).collect()
    }

    /// The messages for a new state of the cluster.
    pub(super) fn update(&mut self, cluster: &Arc<Cluster>) -> Vec<DestinationProfile> {
        let now = self.current(cluster);
        if self.sent.as_ref() == Some(&now) {
            return Vec::new();
        }
        self.sent = Some(now.clone());
        vec![now]
    }

    fn current(&self, cluster: &Cluster) -> DestinationProfile {
        match &self.authority {
            Authority::Address(address) => match cluster.service_at(address.ip()) {
                Some(service) => self.service(cluster, service, address.port()),
                None => self.endpoint(cluster, *address),
            },
            Authority::Service { service: name @ ServiceName { hostname: Some(_), .. }, port } => {
                match instance(cluster, name, *port) {
                    Some(Endpoint { addr, pod: Some(pod), .. }) => self.pod(cluster, &pod, addr),
                    _ => unknown(cluster, *port),
                }
            }
            Authority::Service { service: name, port } => match cluster.service(&name.name) {
                Some(service) => self.service(cluster, service, *port),
                None => DestinationProfile {
                    fully_qualified_name: self
                        .describer
                        .mesh
                        .authority(&name.name.name, &name.name.namespace),
                    ..unknown(cluster, *port)
                },
            },
        }
    }

    fn service(&self, cluster: &Cluster, service: &Service, port: u16) -> DestinationProfile {
        let name = &service.name;
        DestinationProfile {
            fully_qualified_name: self.describer.mesh.authority(&name.name, &name.namespace),
            opaque_protocol: service.opaque_ports.contains(port),
            parent_ref: Some(resource("Service", &name.namespace, &name.name, port)),
            ..unknown(cluster, port)
        }
    }

    fn endpoint(&self, cluster: &Cluster, address: SocketAddr) -> DestinationProfile {
        match cluster.pod_at(address.ip(), address.port()) {
            Some(pod) => self.pod(cluster, pod, address),
            None => unknown(cluster, address.port()),
        }
    }

    fn pod(&self, cluster: &Cluster, pod: &Arc<Pod>, address: SocketAddr) -> DestinationProfile {
        let zone = self.describer.client_zone(cluster);
        DestinationProfile {
            opaque_protocol: pod.config.opaque_ports.contains(address.port()),
            endpoint: Some(self.describer.pod(pod, address, zone.as_deref())),
            ..unknown(cluster, address.port())
        }
    }
}

/// Something outside the cluster, to be forwarded unchanged.
fn unknown(cluster: &Cluster, port: u16) -> DestinationProfile {
    DestinationProfile {
        opaque_protocol: cluster.opaque_ports().contains(port),
        // Linkerd's default.
        retry_budget: Some(RetryBudget {
            retry_ratio: 0.2,
            min_retries_per_second: 10,
            ttl: Duration::from_secs(10).try_into().ok(),
        }),
        ..DestinationProfile::default()
    }
}

/// The pod that `hostname.service` names.
fn instance(cluster: &Cluster, name: &ServiceName, port: u16) -> Option<Endpoint> {
    let hostname = name.hostname.as_deref()?;
    let endpoints = cluster.service(&name.name)?.select(port, Some(hostname), Place::default());
    endpoints.into_iter().next()
}
