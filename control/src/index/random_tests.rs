//! Checks with random sequences of changes that the index is the same as one that is built from scratch, and that
//! readers are woken by everything that concerns them.

use std::{collections::BTreeMap, sync::Arc};

use futures::FutureExt;
use proptest::prelude::*;

use super::{Index, Served, Subscription, Topic};
use crate::{
    index::{Cluster, Instance},
    model::{Event, Key, Name, Object},
    testing::objects,
};

const SERVICES: [&str; 3] = ["s0", "s1", "s2"];
const PODS: [&str; 4] = ["p0", "p1", "p2", "p3"];
const NODES: [&str; 2] = ["n0", "n1"];

/// A step: an object is applied or deleted, the whole is listed again, or a proxy reports.
#[derive(Clone, Debug)]
enum Step {
    Apply(String),
    Delete(String),
    Report { node: usize, pod: usize, served: bool },
}

fn inject() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => Just("linkerd.io/inject: enabled".into()),
        1 => Just("linkerd.io/inject: disabled".into()),
        1 => Just("linkerd.io/inject: enabled, config.weft.dev/splice-ports: \"80\"".into()),
        1 => Just("config.linkerd.io/opaque-ports: \"80\"".into()),
    ]
}

fn metadata(name: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (name, inject()).prop_map(|(name, annotations)| {
        format!("name: {name}, namespace: demo, uid: \"1\", annotations: {{{annotations}}}")
    })
}

fn owner() -> impl Strategy<Value = String> {
    let reference = |kind: &str, name: &str| {
        format!("{{apiVersion: apps/v1, kind: {kind}, name: {name}, uid: \"1\", controller: true}}")
    };
    prop_oneof![Just(String::new()), Just(reference("ReplicaSet", "r")), Just(reference("StatefulSet", "t"))]
}

fn pod() -> impl Strategy<Value = String> {
    let name = metadata((0..PODS.len()).prop_map(|pod| PODS[pod].into()));
    let ip = 1..5u8;
    (name, 0..3u8, owner(), 0..NODES.len(), ip, 0..6u8, any::<bool>()).prop_map(
        |(metadata, label, owner, node, ip, state, zone)| {
            let zone = if zone { "topology.kubernetes.io/zone: za, " } else { "" };
            let (spec, status) = match state {
                0 => ("hostNetwork: true, ", ""),
                1 => ("", "phase: Succeeded, "),
                2 => ("", "conditions: [{type: Ready, status: \"False\"}], "),
                3 => ("containers: [{name: c, ports: [{name: http, containerPort: 8080}]}], ", ""),
                _ => ("", ""),
            };
            format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{{metadata}, labels: {{{zone}app: l{label}}}, ownerReferences: \
                 [{owner}]}}, spec: {{{spec}nodeName: {}}}, status: {{{status}podIP: 10.0.0.{ip}}}}}",
                NODES[node]
            )
        },
    )
}

fn service() -> impl Strategy<Value = String> {
    let name = metadata((0..SERVICES.len()).prop_map(|service| SERVICES[service].into()));
    (name, 0..3u8, 1..4u8, 0..4u8).prop_map(|(metadata, label, ip, form)| {
        let form = match form {
            0 => "type: ExternalName, externalName: example.com".into(),
            1 => "clusterIP: None".into(),
            _ => format!("clusterIP: 10.96.0.{ip}"),
        };
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{{metadata}}}, spec: {{{form}, selector: {{app: l{label}}}, \
             ports: [{{port: 80, targetPort: http}}, {{name: b, port: 81}}]}}}}"
        )
    })
}

fn slice() -> impl Strategy<Value = String> {
    let endpoint = (1..5u8, 0..PODS.len(), any::<bool>(), 0..NODES.len()).prop_map(|(ip, pod, ready, node)| {
        format!(
            "{{addresses: [10.0.0.{ip}], nodeName: {}, zone: zb, conditions: {{ready: {ready}}}, targetRef: {{kind: Pod, \
             name: {}}}}}",
            NODES[node], PODS[pod]
        )
    });
    (0..2u8, 0..SERVICES.len(), prop::collection::vec(endpoint, 0..3)).prop_map(|(name, service, endpoints)| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: e{name}, namespace: \
             demo, labels: {{kubernetes.io/service-name: {}}}}}, ports: [{{port: 80}}], endpoints: [{}]}}",
            SERVICES[service],
            endpoints.join(", ")
        )
    })
}

fn other() -> impl Strategy<Value = String> {
    let owned = |kind: &'static str, name: &'static str, owner: &'static str| {
        metadata(Just(name.to_owned())).prop_map(move |metadata| {
            format!(
                "{{apiVersion: apps/v1, kind: {kind}, metadata: {{{metadata}, ownerReferences: [{owner}]}}}}"
            )
        })
    };
    let deployment = "{apiVersion: apps/v1, kind: Deployment, name: d, uid: \"1\", controller: true}";
    let policy = |version: &str, kind: &str, name: &str, spec: &str| {
        format!(
            "{{apiVersion: policy.linkerd.io/{version}, kind: {kind}, metadata: {{name: {name}, namespace: demo}}, spec: {{{spec}}}}}"
        )
    };
    let server = (0..2u8, 0..3u8).prop_map(move |(name, label)| {
        let spec = format!("podSelector: {{matchLabels: {{app: l{label}}}}}, port: 80");
        policy("v1beta3", "Server", &format!("v{name}"), &spec)
    });
    let target = "targetRef: {kind: Namespace, name: demo}, requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: \
                  MeshTLSAuthentication, name: m}]";
    let authorization = "server: {name: v0}, client: {unauthenticated: true}";
    prop_oneof![
        inject().prop_map(|annotations| format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: demo, annotations: {{{annotations}}}}}}}"
        )),
        (0..NODES.len(), 0..3u8).prop_map(|(node, zone)| format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {}, labels: {{topology.kubernetes.io/zone: z{zone}}}}}}}",
            NODES[node]
        )),
        owned("Deployment", "d", ""),
        owned("ReplicaSet", "r", deployment),
        owned("ReplicaSet", "r", ""),
        owned("StatefulSet", "t", ""),
        server,
        (0..2u8).prop_map(move |number| policy(
            "v1alpha1",
            "MeshTLSAuthentication",
            "m",
            &format!("identities: [a{number}.b]")
        )),
        Just(policy("v1alpha1", "AuthorizationPolicy", "a", target)),
        Just(policy("v1beta1", "ServerAuthorization", "b", authorization)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let object = || prop_oneof![3 => pod(), 2 => service(), 2 => slice(), 3 => other()];
    prop_oneof![
        6 => object().prop_map(Step::Apply),
        2 => object().prop_map(Step::Delete),
        1 => (0..NODES.len(), 0..PODS.len(), any::<bool>())
            .prop_map(|(node, pod, served)| Step::Report { node, pod, served }),
    ]
}

fn name(name: &str) -> Name {
    Name { namespace: "demo".into(), name: name.into() }
}

/// What a reader of each topic sees.
fn view(cluster: &Cluster, topic: &Topic) -> String {
    let settings = |service: &super::Service| format!("{} {:?}", service.name, service.settings);
    match topic {
        Topic::Service(name) => {
            format!(
                "{:?} {:?}",
                cluster.service(name).map(|found| settings(found)),
                cluster.external_name(name)
            )
        }
        Topic::Endpoints(name) => format!("{:?} {:?}", cluster.service(name), cluster.external_name(name)),
        Topic::Pod(name) => format!("{:?}", cluster.pod(name)),
        Topic::Address(ip) => {
            let service = cluster.service_at(*ip).map(|found| settings(found));
            format!("{service:?} {:?} {:?}", cluster.pod_at(*ip, 80), cluster.pod_at(*ip, 8080))
        }
        Topic::Node(node) => format!("{:?}", cluster.pods_on(node)),
        Topic::Zone(node) => format!("{:?}", cluster.zone_of(node)),
        Topic::Splicing => format!("{:?}", cluster.splicing()),
        // No part of the index.
        Topic::Issuer => String::new(),
    }
}

fn topics() -> Vec<Topic> {
    let services =
        SERVICES.iter().flat_map(|found| [Topic::Service(name(found)), Topic::Endpoints(name(found))]);
    let pods = PODS.iter().map(|pod| Topic::Pod(name(pod)));
    let ips = (1..5u8).flat_map(|ip| [[10, 0, 0, ip], [10, 96, 0, ip]]).map(|ip| Topic::Address(ip.into()));
    let nodes = NODES.iter().flat_map(|node| [Topic::Node((*node).into()), Topic::Zone((*node).into())]);
    services.chain(pods).chain(ips).chain(nodes).chain([Topic::Splicing]).collect()
}

fn check(steps: Vec<Step>) {
    let index = Index::new(Served::new());
    let mut kept: BTreeMap<Key, Arc<Object>> = BTreeMap::new();
    let readers: Vec<(Topic, Subscription)> =
        topics().into_iter().map(|topic| (topic.clone(), index.subscribe_to(vec![topic]))).collect();
    for step in steps {
        let before = index.snapshot();
        match &step {
            Step::Apply(text) => {
                let object = objects(text).remove(0);
                kept.insert(object.key(), object.clone());
                index.apply([Event::Applied(object)]);
            }
            Step::Delete(text) => {
                let key = objects(text).remove(0).key();
                kept.remove(&key);
                index.apply([Event::Deleted(key)]);
            }
            Step::Report { node, pod, served } => {
                let pods = [Instance { name: name(PODS[*pod]), uid: "1".into() }].into();
                let (served, withdrawn) = if *served { (pods, [].into()) } else { ([].into(), pods) };
                index.report(NODES[*node], served, &withdrawn);
            }
        }
        let now = index.snapshot();
        let scratch = Index::new(index.served());
        scratch.apply(kept.values().cloned().map(Event::Applied));
        assert_eq!(*now, *scratch.snapshot(), "after {step:?}");
        for (topic, reader) in &readers {
            let is_woken = reader.changed().now_or_never().is_some();
            let is_changed = view(&before, topic) != view(&now, topic);
            assert!(is_woken || !is_changed, "{topic:?} has changed by {step:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_sequence_of_changes_leads_to_the_same_as_a_start_from_scratch(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        check(steps);
    }
}
