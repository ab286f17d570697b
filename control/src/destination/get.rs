//! Tells a client the endpoints of a service, and then what changed.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use weft_api::linkerd::destination::{AddrSet, NoEndpoints, Update, WeightedAddr, WeightedAddrSet, update};

use super::{address::Describer, authority::ServiceName};
use crate::index::{Cluster, Endpoint, Place, Service, Topic};

/// The limit of one message, about 2 KiB: the encoder keeps a buffer of the size of a stream's largest message as long
/// as the stream lives, and there are thousands of streams.
const MAX_ADDED: usize = 6;
/// An address alone has few bytes.
const MAX_REMOVED: usize = 100;

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

/// The selected endpoints by address.
type Selected = BTreeMap<SocketAddr, Endpoint>;

impl Endpoints {
    pub(super) fn new(service: ServiceName, port: u16, describer: Describer) -> Self {
        Self { service, port, describer, sent: None }
    }

    /// What the endpoints depend on.
    pub(super) fn topics(&self) -> Vec<Topic> {
        let zone = self.describer.client_node().map(|node| Topic::Zone(node.to_owned()));
        [Topic::Endpoints(self.service.name.clone())].into_iter().chain(zone).collect()
    }

    /// The messages for a new state of the cluster.
    pub(super) fn update(&mut self, cluster: &Arc<Cluster>) -> Vec<Update> {
        let service = cluster.service(&self.service.name).cloned();
        let now = Sent { zone: self.describer.client_zone(cluster), service };
        if self.sent.as_ref().is_some_and(|sent| sent.is(&now)) {
            return Vec::new();
        }
        let before = self.sent.replace(now);
        let now = self.sent.as_ref();
        let old = before.as_ref().map(|sent| self.select(sent)).unwrap_or_default();
        let new = now.map(|sent| self.select(sent)).unwrap_or_default();
        let exists = |sent: Option<&Sent>| sent.map(|sent| sent.service.is_some());
        if new.is_empty() {
            let is_new = !old.is_empty() || exists(before.as_ref()) != exists(now);
            let exists = exists(now).unwrap_or_default();
            let update = Update { update: Some(update::Update::NoEndpoints(NoEndpoints { exists })) };
            return if is_new { vec![update] } else { Vec::new() };
        }
        let zone = |sent: Option<&Sent>| sent.and_then(|sent| sent.zone.clone());
        let (old_zone, new_zone) = (zone(before.as_ref()), zone(now));
        let added = |(addr, endpoint): (&SocketAddr, &Endpoint)| {
            let before = old.get(addr);
            // Most endpoints are the same, and describing one takes longer than seeing that.
            if before == Some(endpoint) && old_zone == new_zone {
                return None;
            }
            let described = self.describer.endpoint(endpoint, new_zone.as_deref());
            let before = before.map(|before| self.describer.endpoint(before, old_zone.as_deref()));
            (before.as_ref() != Some(&described)).then_some(described)
        };
        let added: Vec<_> = new.iter().filter_map(added).collect();
        let removed: Vec<_> = old.into_keys().filter(|addr| !new.contains_key(addr)).collect();
        self.messages(&added, &removed)
    }

    fn messages(&self, added: &[WeightedAddr], removed: &[SocketAddr]) -> Vec<Update> {
        let name = &self.service.name;
        let labels = HashMap::from([
            ("namespace".to_owned(), name.namespace.clone()),
            ("service".to_owned(), name.name.clone()),
        ]);
        let adds = added.chunks(MAX_ADDED).map(|addrs| {
            update::Update::Add(WeightedAddrSet { addrs: addrs.to_vec(), metric_labels: labels.clone() })
        });
        let removes = removed.chunks(MAX_REMOVED).map(|addrs| {
            update::Update::Remove(AddrSet { addrs: addrs.iter().map(|addr| (*addr).into()).collect() })
        });
        // New ones first, so that the client always has some.
        adds.chain(removes).map(|update| Update { update: Some(update) }).collect()
    }

    fn select(&self, sent: &Sent) -> Selected {
        let Some(service) = &sent.service else { return Selected::new() };
        let place = Place { node: self.describer.client_node(), zone: sent.zone.as_deref() };
        let selected = service.select(self.port, self.service.hostname.as_deref(), place);
        selected.into_iter().map(|endpoint| (endpoint.addr, endpoint)).collect()
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
