//! Measures the index with clusters of 1 000 to 10 000 pods: the first sync, a change of one endpoint, of one pod and of
//! one namespace, and memory.
//!
//! `cargo run --release -p weft-control --example index_scale`
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use k8s_openapi::{
    api::{
        core::v1::{
            Container, ContainerPort, HTTPGetAction, ObjectReference, Pod, PodCondition, PodIP, PodSpec,
            PodStatus, Probe, Service, ServicePort, ServiceSpec,
        },
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};
use weft_control::{
    index::{Index, Served, Topic},
    model::{Event, Kind, Name, Object},
};

const PODS_PER_NAMESPACE: usize = 500;
const PODS_PER_NODE: usize = 100;
const PODS_PER_SERVICE: usize = 10;
const ENDPOINTS: usize = 20;
const CHANGES: usize = 200;
/// Each concerns 500 pods.
const NAMESPACE_CHANGES: usize = 20;
/// Streams that watch each changed service: one of every node.
const STREAMS: usize = 100;

fn main() -> Result<()> {
    println!("pods services  first sync  endpoint change  pod change  namespace change  memory");
    for pods in [1_000, 2_000, 5_000, 10_000] {
        measure(&Scale { pods, services: pods / PODS_PER_SERVICE })?;
    }
    Ok(())
}

struct Scale {
    pods: usize,
    services: usize,
}

fn measure(scale: &Scale) -> Result<()> {
    let before = resident()?;
    let index = Index::new(Served::new());
    let begun = Instant::now();
    // Each kind by itself, as the watches list them.
    for (kind, objects) in scale.objects() {
        let events = objects.map(|object| Event::Applied(Arc::new(object.trimmed())));
        index.apply(events.chain([Event::Synced(kind)]));
    }
    let sync = begun.elapsed();
    let memory = resident()?.saturating_sub(before);
    let streams: Vec<_> =
        (0..STREAMS).map(|_| index.subscribe_to(vec![Topic::Endpoints(scale.service_name(0))])).collect();
    // Every other change is one of the service that the streams watch, and all change something.
    let endpoint = |round: usize| {
        let (service, ready) = if round.is_multiple_of(2) {
            (0, !round.is_multiple_of(4))
        } else {
            (round % scale.services, false)
        };
        Object::EndpointSlice(Box::new(scale.slice(service, ready)))
    };
    let endpoint = median(CHANGES, endpoint, &index);
    let pod = median(CHANGES, |round| Object::Pod(Box::new(scale.pod(round, false))), &index);
    let namespace = median(NAMESPACE_CHANGES, |round| namespace(0, round % 2 == 0), &index);
    drop(streams);
    println!(
        "{:>5} {:>8}  {:>8} ms  {:>12} us  {:>7} us  {:>13} us  {:>2} MiB",
        scale.pods,
        scale.services,
        sync.as_millis(),
        endpoint.as_micros(),
        pod.as_micros(),
        namespace.as_micros(),
        memory >> 20
    );
    black_box(index.snapshot());
    Ok(())
}

/// The median time to apply one object.
fn median(changes: usize, object: impl Fn(usize) -> Object, index: &Index) -> Duration {
    let apply = |round| {
        let event = Event::Applied(Arc::new(object(round).trimmed()));
        let begun = Instant::now();
        index.apply([event]);
        begun.elapsed()
    };
    let mut times: Vec<_> = (0..changes).map(apply).collect();
    times.sort();
    times[changes / 2]
}

fn resident() -> Result<usize> {
    let text = fs::read_to_string("/proc/self/statm").context("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).context("no resident pages in /proc/self/statm")?;
    Ok(pages.parse::<usize>()? * 4096)
}

type Objects<'a> = Box<dyn Iterator<Item = Object> + 'a>;

impl Scale {
    fn objects(&self) -> [(Kind, Objects<'_>); 7] {
        let namespaces = self.pods.div_ceil(PODS_PER_NAMESPACE);
        let nodes = self.pods.div_ceil(PODS_PER_NODE);
        let node = |number| {
            let labels = [("topology.kubernetes.io/zone".to_owned(), format!("zone-{}", number % 3))];
            Object::MetadataOnly(
                Kind::Node,
                Box::new(metadata(None, format!("node-{number}"), labels.into())),
            )
        };
        let owner = |kind, number: usize| {
            let mut own = metadata(Some(number * PODS_PER_SERVICE), workload(kind, number), BTreeMap::new());
            if kind == Kind::ReplicaSet {
                own.owner_references = Some(vec![owner_of(Kind::Deployment, number)]);
            }
            Object::MetadataOnly(kind, Box::new(own))
        };
        [
            (Kind::Namespace, Box::new((0..namespaces).map(|number| namespace(number, false)))),
            (Kind::Node, Box::new((0..nodes).map(node))),
            (
                Kind::Deployment,
                Box::new((0..self.services).map(move |number| owner(Kind::Deployment, number))),
            ),
            (
                Kind::ReplicaSet,
                Box::new((0..self.services).map(move |number| owner(Kind::ReplicaSet, number))),
            ),
            (Kind::Pod, Box::new((0..self.pods).map(|number| Object::Pod(Box::new(self.pod(number, true)))))),
            (
                Kind::Service,
                Box::new((0..self.services).map(|number| Object::Service(Box::new(self.service(number))))),
            ),
            (
                Kind::EndpointSlice,
                Box::new(
                    (0..self.services)
                        .map(|number| Object::EndpointSlice(Box::new(self.slice(number, true)))),
                ),
            ),
        ]
    }

    fn pod(&self, number: usize, ready: bool) -> Pod {
        let owner = number / PODS_PER_SERVICE;
        let labels = [
            ("app".to_owned(), workload(Kind::Service, owner)),
            ("pod-template-hash".to_owned(), "5d8f".to_owned()),
        ];
        let probe = Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/ready".into()),
                port: IntOrString::Int(8080),
                ..HTTPGetAction::default()
            }),
            ..Probe::default()
        };
        let container = Container {
            name: "app".into(),
            image: Some("registry.example/application:v1".into()),
            ports: Some(vec![ContainerPort {
                name: Some("http".into()),
                container_port: 8080,
                ..ContainerPort::default()
            }]),
            readiness_probe: Some(probe),
            ..Container::default()
        };
        let own = metadata(Some(number), format!("pod-{number}"), labels.into());
        let condition = PodCondition {
            type_: "Ready".into(),
            status: if ready { "True" } else { "False" }.into(),
            ..PodCondition::default()
        };
        Pod {
            metadata: ObjectMeta { owner_references: Some(vec![owner_of(Kind::ReplicaSet, owner)]), ..own },
            spec: Some(PodSpec {
                node_name: Some(format!("node-{}", number / PODS_PER_NODE)),
                service_account_name: Some("default".into()),
                containers: vec![container],
                ..PodSpec::default()
            }),
            status: Some(PodStatus {
                phase: Some("Running".into()),
                pod_ip: Some(ip(number)),
                pod_ips: Some(vec![PodIP { ip: ip(number) }]),
                conditions: Some(vec![condition]),
                ..PodStatus::default()
            }),
        }
    }

    fn service_name(&self, number: usize) -> Name {
        let namespace = format!("ns-{}", number * PODS_PER_SERVICE / PODS_PER_NAMESPACE);
        Name { namespace, name: workload(Kind::Service, number) }
    }

    fn service(&self, number: usize) -> Service {
        let name = self.service_name(number);
        let port = ServicePort {
            name: Some("http".into()),
            port: 80,
            target_port: Some(IntOrString::String("http".into())),
            ..ServicePort::default()
        };
        Service {
            metadata: metadata(Some(number * PODS_PER_SERVICE), name.name.clone(), BTreeMap::new()),
            spec: Some(ServiceSpec {
                cluster_ip: Some(format!("10.96.{}.{}", number >> 8, number & 255)),
                selector: Some([("app".to_owned(), name.name)].into()),
                ports: Some(vec![port]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    fn slice(&self, number: usize, ready: bool) -> EndpointSlice {
        let name = self.service_name(number);
        let labels = [("kubernetes.io/service-name".to_owned(), name.name.clone())];
        let endpoint = |place: usize| {
            // Of its own pods and of those of the next service: so every pod is in two services.
            let pod = (number * PODS_PER_SERVICE + place) % self.pods;
            Endpoint {
                addresses: vec![ip(pod)],
                conditions: Some(EndpointConditions {
                    ready: Some(ready || place > 0),
                    ..EndpointConditions::default()
                }),
                node_name: Some(format!("node-{}", pod / PODS_PER_NODE)),
                target_ref: Some(ObjectReference {
                    kind: Some("Pod".into()),
                    namespace: Some(format!("ns-{}", pod / PODS_PER_NAMESPACE)),
                    name: Some(format!("pod-{pod}")),
                    ..ObjectReference::default()
                }),
                zone: Some(format!("zone-{}", pod / PODS_PER_NODE % 3)),
                ..Endpoint::default()
            }
        };
        EndpointSlice {
            address_type: "IPv4".into(),
            metadata: metadata(Some(number * PODS_PER_SERVICE), format!("{}-x", name.name), labels.into()),
            endpoints: (0..ENDPOINTS).map(endpoint).collect(),
            ports: Some(vec![EndpointPort {
                name: Some("http".into()),
                port: Some(8080),
                ..EndpointPort::default()
            }]),
        }
    }
}

fn namespace(number: usize, inject: bool) -> Object {
    let value = if inject { "enabled" } else { "disabled" };
    let metadata = ObjectMeta {
        name: Some(format!("ns-{number}")),
        annotations: Some([("linkerd.io/inject".to_owned(), value.to_owned())].into()),
        ..ObjectMeta::default()
    };
    Object::Namespace(Box::new(k8s_openapi::api::core::v1::Namespace { metadata, ..Default::default() }))
}

/// `pod` says in which namespace the object is.
fn metadata(pod: Option<usize>, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        uid: Some(format!("5b0e6d2c-5a1c-4f5e-8f6b-{name}")),
        name: Some(name),
        namespace: pod.map(|pod| format!("ns-{}", pod / PODS_PER_NAMESPACE)),
        labels: (!labels.is_empty()).then_some(labels),
        annotations: Some(
            [("kubectl.kubernetes.io/last-applied-configuration".to_owned(), "x".repeat(500))].into(),
        ),
        ..ObjectMeta::default()
    }
}

fn workload(kind: Kind, number: usize) -> String {
    match kind {
        Kind::ReplicaSet => format!("web-{number}-5d8f"),
        _ => format!("web-{number}"),
    }
}

fn owner_of(kind: Kind, number: usize) -> OwnerReference {
    let name = workload(kind, number);
    OwnerReference {
        api_version: "apps/v1".into(),
        kind: kind.to_string(),
        uid: format!("5b0e6d2c-5a1c-4f5e-8f6b-{name}"),
        name,
        controller: Some(true),
        ..OwnerReference::default()
    }
}

fn ip(pod: usize) -> String {
    format!("10.{}.{}.{}", 244 + (pod >> 16), pod >> 8 & 255, pod & 255)
}
