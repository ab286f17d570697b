//! Keeps the cluster up to date: a change builds again only what depends on it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{
    cluster::Cluster,
    dirty::Dirty,
    endpoints::{self, Pods},
    links::Links,
    owner::Owners,
    pod::{Pod, Served, Surroundings},
    pod_config::opaque_ports,
    selector,
    servers::Servers,
    service::{Service, external_name},
    store::{Changes, Store},
    topics::Topic,
    zones::{self, Witness, Zones},
};
use crate::{
    model::{Event, Key, Kind, Name, Object},
    settings::Annotations,
};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) cluster: Cluster,
    pub(super) served: Served,
    store: Store,
    links: Links,
    /// Of namespaces, completed by those of the whole cluster.
    namespaces: HashMap<String, Annotations>,
    defaults: Annotations,
    servers: HashMap<String, Servers>,
    zones: Zones,
}

/// What has changed in the cluster.
pub(super) type Topics = BTreeSet<Topic>;

impl State {
    /// No objects yet.
    pub(super) fn new(served: Served, defaults: Annotations) -> Self {
        let mut state = Self { served, defaults, ..Self::default() };
        state.cluster.set_opaque_ports(opaque_ports(&state.defaults, |_| None));
        state
    }

    pub(super) fn objects(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.store.shared(kind).cloned().collect()
    }

    /// Takes a batch of events.
    pub(super) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> Topics {
        let changes = self.store.apply(events);
        let dirty = self.note(&changes);
        self.build(dirty)
    }

    /// Builds these pods again, because what proxies report about them has changed.
    pub(super) fn served_changed(&mut self, pods: BTreeSet<Name>) -> Topics {
        self.build(Dirty { pods, ..Dirty::default() })
    }

    /// Brings up to date what is known about the objects, and finds what depends on them.
    fn note(&mut self, changes: &Changes) -> Dirty {
        let mut dirty = Dirty::default();
        for (key, before) in changes {
            let (before, after) = (before.as_deref(), self.store.get(key));
            self.links.update(key, before, after);
            for (object, add) in
                before.map(|old| (old, false)).into_iter().chain(after.map(|new| (new, true)))
            {
                for (node, witness, zone) in zones_of(key, object) {
                    match add {
                        true => self.zones.add(node, witness, zone),
                        false => self.zones.remove(node, witness, zone),
                    }
                    dirty.nodes.insert(node.to_owned());
                }
            }
            if key.kind == Kind::Namespace {
                match after {
                    Some(object) => {
                        let annotations = Annotations::parse(object.metadata().annotations.as_ref()).0;
                        let annotations = annotations.or(&self.defaults);
                        self.namespaces.insert(key.name.clone(), annotations);
                    }
                    None => _ = self.namespaces.remove(&key.name),
                }
            }
        }
        for (key, before) in changes {
            dirty.add(key, before.as_deref(), &self.store, &self.links, &self.cluster);
        }
        dirty
    }

    fn build(&mut self, mut dirty: Dirty) -> Topics {
        let mut topics = Topics::new();
        for namespace in std::mem::take(&mut dirty.servers) {
            self.build_servers(&namespace, &mut dirty);
        }
        for name in std::mem::take(&mut dirty.pods) {
            self.build_pod(&name, &mut dirty, &mut topics);
        }
        for name in dirty.services {
            self.build_service(&name, &mut topics);
        }
        for node in dirty.nodes {
            let zone = self.zones.get(&node);
            if self.cluster.zone_of(&node) != zone {
                self.cluster.set_zone(&node, zone);
                topics.insert(Topic::Zone(node));
            }
        }
        topics
    }

    fn build_servers(&mut self, namespace: &str, dirty: &mut Dirty) {
        let now = Servers::of_namespace(namespace, &self.store);
        let before = self.servers.remove(namespace).unwrap_or_default();
        if before != now {
            for (key, object) in self.store.in_namespace(Kind::Pod, namespace) {
                let none = BTreeMap::new();
                let labels = object.metadata().labels.as_ref().unwrap_or(&none);
                if before.select(labels) || now.select(labels) {
                    dirty.pods.insert(key.into());
                }
            }
        }
        if !now.is_empty() {
            self.servers.insert(namespace.to_owned(), now);
        }
    }

    fn build_pod(&mut self, name: &Name, dirty: &mut Dirty, topics: &mut Topics) {
        let now = self.pod(name);
        let before = self.cluster.pod(name).cloned();
        if before.as_deref() == now.as_ref() {
            return;
        }
        let now = now.map(Arc::new);
        self.links.update_pod(before.as_deref(), now.as_deref());
        topics.insert(Topic::Pod(name.clone()));
        for pod in before.iter().chain(&now) {
            dirty.services.extend(self.links.services_of(pod).cloned());
            topics.extend(pod.ips.iter().map(|ip| Topic::Address(*ip)));
            topics.extend(pod.node.clone().map(Topic::Node));
        }
        let splices =
            now.clone().filter(|pod| pod.is_meshed() && !pod.config.splice_ports.ranges().is_empty());
        if splices.is_some() || self.cluster.splicing().pods.contains_key(name) {
            let pods = &mut self.cluster.splicing_mut().pods;
            match splices {
                Some(pod) => _ = pods.insert(name.clone(), pod),
                None => _ = pods.remove(name),
            }
            topics.insert(Topic::Splicing);
        }
        self.cluster.set_pod(name, now);
    }

    fn pod(&self, name: &Name) -> Option<Pod> {
        let Object::Pod(object) = self.store.named(Kind::Pod, name)? else { return None };
        let node = object.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node = node.and_then(|node| self.store.get(&Key::new(Kind::Node, None, node)));
        let around = Surroundings {
            namespace: self.namespaces.get(&name.namespace).unwrap_or(&self.defaults),
            owners: Owners::of(&object.metadata, &self.store),
            servers: self.servers.get(&name.namespace),
            node_zone: node.and_then(|node| zones::of_labels(node.metadata())),
            served: &self.served,
        };
        Pod::build(name.clone(), object, &around)
    }

    fn build_service(&mut self, name: &Name, topics: &mut Topics) {
        let object = match self.store.named(Kind::Service, name) {
            Some(Object::Service(service)) => Some(&**service),
            _ => None,
        };
        let external = object.and_then(external_name);
        if self.cluster.external_name(name) != external {
            topics.extend([Topic::Service(name.clone()), Topic::Endpoints(name.clone())]);
            self.cluster.set_external_name(name, external);
        }
        let before = self.cluster.service(name).cloned();
        let object = object.filter(|_| external.is_none());
        let now = object.map(|object| self.service(name, object, before.as_deref()));
        if before.as_deref() == now.as_ref() {
            return;
        }
        topics.insert(Topic::Endpoints(name.clone()));
        let settings = |service: Option<&Service>| service.map(|service| service.settings.clone());
        if settings(before.as_deref()) != settings(now.as_ref()) {
            topics.insert(Topic::Service(name.clone()));
            let all = before.as_deref().into_iter().chain(&now);
            topics.extend(all.flat_map(|service| &service.cluster_ips).map(|ip| Topic::Address(*ip)));
        }
        let now = now.map(Arc::new);
        let splices = now.clone().filter(|service| splices(service));
        if splices.is_some() || self.cluster.splicing().services.contains_key(name) {
            let services = &mut self.cluster.splicing_mut().services;
            match splices {
                Some(service) => _ = services.insert(name.clone(), service),
                None => _ = services.remove(name),
            }
            topics.insert(Topic::Splicing);
        }
        self.cluster.set_service(name, now);
    }

    fn service(
        &self,
        name: &Name,
        object: &k8s_openapi::api::core::v1::Service,
        before: Option<&Service>,
    ) -> Service {
        let namespace = self.namespaces.get(&name.namespace).unwrap_or(&self.defaults);
        let mut built = Service::build(name.clone(), object, namespace);
        if let Some(before) = before.filter(|before| before.settings == built.settings) {
            built.settings = before.settings.clone();
        }
        let slices: Vec<_> = self
            .links
            .slices_of(name)
            .filter_map(|slice| match self.store.named(Kind::EndpointSlice, slice)? {
                Object::EndpointSlice(slice) => Some(&**slice),
                _ => None,
            })
            .collect();
        endpoints::fill(&mut built, object, &slices, self);
        built
    }
}

impl Pods for State {
    fn named(&self, name: &Name) -> Option<&Arc<Pod>> {
        self.cluster.pod(name)
    }

    fn at(&self, ip: IpAddr) -> Option<&Arc<Pod>> {
        self.cluster.pod_alone_at(ip)
    }

    fn labelled(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<&Arc<Pod>> {
        let candidates = self.links.pods_with_label(namespace, labels);
        let pods = candidates.filter_map(|name| self.cluster.pod(name));
        pods.filter(|pod| pod.name.namespace == namespace && selector::contains(labels, &pod.labels))
            .collect()
    }
}

/// Whether a service, or a pod behind it, opted in to splicing.
fn splices(service: &Service) -> bool {
    let mut endpoints = service.ports().flat_map(|(_, endpoints)| endpoints);
    !service.splice_ports.ranges().is_empty()
        || endpoints.any(|endpoint| {
            let pod = endpoint.pod.as_ref().filter(|pod| pod.is_meshed());
            pod.is_some_and(|pod| pod.config.splice_ports.contains(endpoint.addr.port()))
        })
}

/// The nodes whose zone an object names.
fn zones_of<'a>(key: &'a Key, object: &'a Object) -> Vec<(&'a str, Witness, &'a str)> {
    match object {
        Object::MetadataOnly(Kind::Node, metadata) => zones::of_labels(metadata)
            .map(|zone| (key.name.as_str(), Witness::Node, zone))
            .into_iter()
            .collect(),
        Object::Pod(pod) => {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            node.zip(zones::of_labels(&pod.metadata))
                .map(|(node, zone)| (node, Witness::Pod, zone))
                .into_iter()
                .collect()
        }
        Object::EndpointSlice(slice) => {
            zones::of_slice(slice).map(|(node, zone)| (node, Witness::Slice, zone)).collect()
        }
        _ => Vec::new(),
    }
}
