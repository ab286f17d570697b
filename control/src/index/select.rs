//! Selects the endpoints of a service that one client is to use, as kube-proxy does.

use super::service::{Endpoint, EndpointState, Service};

/// Where a client is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    pub node: Option<&'a str>,
    pub zone: Option<&'a str>,
}

impl Service {
    /// The endpoints of `port` for clients about whom nothing is known.
    pub fn endpoints(&self, port: u16) -> Vec<Endpoint> {
        self.select(port, None, Place::default())
    }

    /// The endpoints of `port` for a client: if the service wants it, only those on its node; then the ready ones, or
    /// if there are none, those that terminate and still serve; then those that are meant for its zone. With a host
    /// name, only those that have it.
    pub fn select(&self, port: u16, hostname: Option<&str>, client: Place<'_>) -> Vec<Endpoint> {
        let mut endpoints = self.all_endpoints(port).into_owned();
        endpoints.retain(|endpoint| {
            let is_wanted = hostname.is_none_or(|wanted| endpoint.hostname.as_deref() == Some(wanted));
            let is_local = || endpoint.node.is_some() && endpoint.node.as_deref() == client.node;
            is_wanted && (!self.local_only || is_local())
        });
        let is_ready = |endpoint: &Endpoint| endpoint.state == EndpointState::Ready;
        if !endpoints.iter().any(is_ready) {
            return endpoints;
        }
        endpoints.retain(is_ready);
        if let Some(zone) = client.zone.filter(|_| !self.local_only) {
            for_zone(&mut endpoints, zone);
        }
        endpoints
    }
}

/// Hints count only if every endpoint has some, and if they leave the zone an endpoint: otherwise the slices are being
/// rewritten.
fn for_zone(endpoints: &mut Vec<Endpoint>, zone: &str) {
    let is_for = |endpoint: &Endpoint| endpoint.for_zones.iter().any(|hint| hint == zone);
    let all_hinted = endpoints.iter().all(|endpoint| !endpoint.for_zones.is_empty());
    if all_hinted && endpoints.iter().any(is_for) {
        endpoints.retain(is_for);
    }
}
