//! Tells a client the endpoints of a service, and then what changed.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use weft_api::linkerd::destination::{AddrSet, NoEndpoints, Update, WeightedAddr, WeightedAddrSet, update};

use super::{address::Describer, authority::ServiceName};
use crate::index::{Cluster, Service};

/// The limit of one message, a few hundred kilobytes.
const MAX_ADDRESSES: usize = 1000;

/// The endpoints of one port of a service, for one client.
#[derive(Debug)]
pub(super) struct Endpoints {
    service: ServiceName,
    port: u16,
    describer: Describer,
    sent: Option<Sent>,
}

/// What the client knows: the service as it was in a snapshot, which all clients share.
#[derive(Debug)]
struct Sent {
    service: Option<Arc<Service>>,
    zone: Option<String>,
}

type Addrs = BTreeMap<SocketAddr, WeightedAddr>;

impl Endpoints {
    pub(super) fn new(service: ServiceName, port: u16, describer: Describer) -> Self {
        Self { service, port, describer, sent: None }
    }

    /// The messages for a new state of the cluster.
    pub(super) fn update(&mut self, cluster: &Arc<Cluster>) -> Vec<Update> {
        let service = cluster.service(&self.service.name).cloned();
        let now = Sent { zone: self.describer.client_zone(cluster), service };
        if self.sent.as_ref().is_some_and(|sent| sent.is(&now)) {
            return Vec::new();
        }
        let before = self.sent.replace(now);
        let old = before.as_ref().map(|sent| self.addresses_of(sent)).unwrap_or_default();
        let new = self.sent.as_ref().map(|sent| self.addresses_of(sent)).unwrap_or_default();
        let exists = |sent: Option<&Sent>| sent.map(|sent| sent.service.is_some());
        if new.is_empty() {
            let is_new = !old.is_empty() || exists(before.as_ref()) != exists(self.sent.as_ref());
            let exists = exists(self.sent.as_ref()).unwrap_or_default();
            let update = Update { update: Some(update::Update::NoEndpoints(NoEndpoints { exists })) };
            return if is_new { vec![update] } else { Vec::new() };
        }
        self.difference(&old, new)
    }

    fn difference(&self, old: &Addrs, new: Addrs) -> Vec<Update> {
        let removed =
            old.keys().filter(|addr| !new.contains_key(addr)).map(|addr| (*addr).into()).collect::<Vec<_>>();
        let added: Vec<_> = new
            .into_iter()
            .filter(|(addr, address)| old.get(addr) != Some(address))
            .map(|(_, new)| new)
            .collect();
        let name = &self.service.name;
        let labels = HashMap::from([
            ("namespace".to_owned(), name.namespace.clone()),
            ("service".to_owned(), name.name.clone()),
        ]);
        let adds = added.chunks(MAX_ADDRESSES).map(|addrs| {
            update::Update::Add(WeightedAddrSet { addrs: addrs.to_vec(), metric_labels: labels.clone() })
        });
        let removes = removed
            .chunks(MAX_ADDRESSES)
            .map(|addrs| update::Update::Remove(AddrSet { addrs: addrs.to_vec() }));
        // New ones first, so that the client always has some.
        adds.chain(removes).map(|update| Update { update: Some(update) }).collect()
    }

    fn addresses_of(&self, sent: &Sent) -> Addrs {
        let Some(service) = &sent.service else { return Addrs::new() };
        let endpoints = service.endpoints(self.port).into_iter().filter(|endpoint| {
            let wanted = self.service.hostname.as_ref();
            wanted.is_none_or(|wanted| endpoint.hostname.as_ref() == Some(wanted))
                && (!service.local_only || self.describer.is_local(endpoint))
        });
        endpoints
            .map(|endpoint| (endpoint.addr, self.describer.endpoint(&endpoint, sent.zone.as_deref())))
            .collect()
    }
}

impl Sent {
    fn is(&self, other: &Self) -> bool {
        let same = match (&self.service, &other.service) {
            (Some(mine), Some(others)) => Arc::ptr_eq(mine, others),
            (None, None) => true,
            _ => false,
        };
        same && self.zone == other.zone
    }
}
