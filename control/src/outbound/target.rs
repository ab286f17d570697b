//! What a proxy asks about: an address that an application has dialled, or the name of a service.

use std::net::{IpAddr, SocketAddr};

use tonic::Status;
use weft_api::linkerd::{
    net::TcpAddress,
    outbound::{OutboundPolicy, TrafficSpec, traffic_spec},
};

use super::describe;
use crate::{
    destination::{Authority, ServiceName},
    index::{Cluster, Topic},
    mesh::Mesh,
    model::Name,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(SocketAddr),
    Service { name: Name, port: u16 },
}

impl Target {
    pub(super) fn parse(request: &TrafficSpec, cluster_domain: &str) -> Result<Self, Status> {
        let target = request
            .target
            .as_ref()
            .ok_or_else(|| Status::invalid_argument("No target: set an address or an authority"))?;
        let authority = match target {
            traffic_spec::Target::Addr(address) => return socket_addr(address).map(Self::Address),
            traffic_spec::Target::Authority(authority) => authority,
        };
        match Authority::parse(authority, cluster_domain)? {
            Authority::Address(address) => Ok(Self::Address(address)),
            Authority::Service { service: ServiceName { name, hostname: None }, port } => {
                Ok(Self::Service { name, port })
            }
            Authority::Service { .. } => Err(Status::not_found(format!(
                "{authority} is a pod of a headless service; only services have outbound policies"
            ))),
        }
    }

    /// What the policy depends on.
    pub(super) fn topics(&self) -> Vec<Topic> {
        vec![match self {
            Self::Address(address) => Topic::Address(address.ip()),
            Self::Service { name, .. } => Topic::Service(name.clone()),
        }]
    }

    /// `None`: there is no such service.
    pub(super) fn policy(&self, cluster: &Cluster, mesh: &Mesh) -> Option<OutboundPolicy> {
        match self {
            Self::Address(address) => {
                let (service, port) = (cluster.service_at(address.ip())?, address.port());
                // As in Linkerd: a virtual address has no other ports than those of its service.
                Some(match service.app_protocols.contains_key(&port) {
                    true => describe::policy(service, port, mesh),
                    false => describe::undefined_port(service, port),
                })
            }
            Self::Service { name, port } => {
                cluster.service(name).map(|service| describe::policy(service, *port, mesh))
            }
        }
    }

    /// The error for a target without a policy. Proxies consider an invalid argument final.
    pub(super) fn unknown(&self, cluster: &Cluster) -> Status {
        match self {
            Self::Address(address) => {
                Status::not_found(format!("No service has the address {}", address.ip()))
            }
            Self::Service { name: service, .. } => {
                let Name { namespace, name } = service;
                match cluster.external_name(service) {
                    Some(external) => Status::invalid_argument(format!(
                        "Service {name}.{namespace} is an ExternalName, an alias of {external:?} outside the cluster"
                    )),
                    None => Status::not_found(format!("Service {name}.{namespace} not found")),
                }
            }
        }
    }
}

fn socket_addr(address: &TcpAddress) -> Result<SocketAddr, Status> {
    let port = match u16::try_from(address.port) {
        Ok(port) if port > 0 => port,
        _ => return Err(Status::invalid_argument(format!("Invalid port: {}", address.port))),
    };
    let ip = address.ip.and_then(|ip| IpAddr::try_from(ip).ok());
    let ip = ip.ok_or_else(|| Status::invalid_argument("The target's address has no IP"))?;
    Ok(SocketAddr::new(ip.to_canonical(), port))
}
