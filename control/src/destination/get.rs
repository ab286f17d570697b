//! Which endpoints does a service have, and what changed?

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use weft_api::linkerd::destination::{AddrSet, NoEndpoints, Update, WeightedAddr, WeightedAddrSet, update};

use super::{address::Addresses, authority::ServiceName};
use crate::index::{Cluster, Service};

/// Addresses in one message: a few hundred kilobytes.
const MAX_ADDRESSES: usize = 1000;

/// The endpoints of one port of a service, as one client was told.
#[derive(Debug)]
pub(super) struct Endpoints {
    service: ServiceName,
    port: u16,
    addresses: Addresses,
    told: Option<Told>,
}

/// What the client knows; kept as the snapshot it came from, which all clients share.
#[derive(Debug)]
struct Told {
    service: Option<Arc<Service>>,
    zone: Option<String>,
}

type Addrs = BTreeMap<SocketAddr, WeightedAddr>;

impl Endpoints {
    pub(super) fn new(service: ServiceName, port: u16, addresses: Addresses) -> Self {
        Self { service, port, addresses, told: None }
    }

    /// What has to be said, the cluster being so.
    pub(super) fn look(&mut self, cluster: &Arc<Cluster>) -> Vec<Update> {
        let service = cluster.service(&self.service.name).cloned();
        let now = Told { zone: self.addresses.client_zone(cluster), service };
        if self.told.as_ref().is_some_and(|told| told.is(&now)) {
            return Vec::new();
        }
        let before = self.told.replace(now);
        let old = before.as_ref().map(|told| self.addresses_of(told)).unwrap_or_default();
        let new = self.told.as_ref().map(|told| self.addresses_of(told)).unwrap_or_default();
        let exists = |told: Option<&Told>| told.map(|told| told.service.is_some());
        if new.is_empty() {
            let is_news = !old.is_empty() || exists(before.as_ref()) != exists(self.told.as_ref());
            let exists = exists(self.told.as_ref()).unwrap_or_default();
            let update = Update { update: Some(update::Update::NoEndpoints(NoEndpoints { exists })) };
            return if is_news { vec![update] } else { Vec::new() };
        }
        self.difference(&old, new)
    }

    fn difference(&self, old: &Addrs, new: Addrs) -> Vec<Update> {
        let gone =
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
        let removes =
            gone.chunks(MAX_ADDRESSES).map(|addrs| update::Update::Remove(AddrSet { addrs: addrs.to_vec() }));
        // New ones first: in between a client should not find itself without any.
        adds.chain(removes).map(|update| Update { update: Some(update) }).collect()
    }

    fn addresses_of(&self, told: &Told) -> Addrs {
        let Some(service) = &told.service else { return Addrs::new() };
        let endpoints = service.endpoints(self.port).into_iter().filter(|endpoint| {
            let wanted = self.service.hostname.as_ref();
            wanted.is_none_or(|wanted| endpoint.hostname.as_ref() == Some(wanted))
                && (!service.local_only || self.addresses.is_local(endpoint))
        });
        endpoints
            .map(|endpoint| (endpoint.addr, self.addresses.endpoint(&endpoint, told.zone.as_deref())))
            .collect()
    }
}

impl Told {
    fn is(&self, other: &Self) -> bool {
        let same = match (&self.service, &other.service) {
            (Some(mine), Some(others)) => Arc::ptr_eq(mine, others),
            (None, None) => true,
            _ => false,
        };
        same && self.zone == other.zone
    }
}
