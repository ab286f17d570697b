//! Checks that the index agrees with what Kubernetes does.

use crate::{
    index::{Cluster, Endpoint, Index, Pod, Served},
    model::{Event, Key, Kind, Name},
    settings::{AccessLog, Annotations, FailMode, Policy, Protocol},
    testing::{cluster, mesh, objects},
};

fn name(name: &str) -> Name {
    Name { namespace: "demo".into(), name: name.into() }
}

fn addresses(cluster: &Cluster, service: &str, port: u16) -> Vec<String> {
    let endpoints = cluster.service(&name(service)).unwrap().endpoints(port);
    endpoints.iter().map(|endpoint: &Endpoint| endpoint.addr.to_string()).collect()
}

fn pod_of(annotations: &str) -> Pod {
    let text = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: demo, annotations: {{linkerd.io/inject: enabled, \
         config.linkerd.io/skip-outbound-ports: \"9000\"}}}}}}\n---\n{{apiVersion: v1, kind: Pod, metadata: \
         {{name: a, namespace: demo, labels: {{app: a}}, annotations: {{{annotations}}}}}, spec: {{containers: \
         [{{name: c, ports: [{{name: db, containerPort: 5000}}]}}]}}}}"
    );
    (**cluster(&text).pod(&name("a")).unwrap()).clone()
}

const PODS: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: demo, labels: {app: web, v: "1"}},
 spec: {hostname: a, subdomain: each, nodeName: one, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]},
 status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: demo, labels: {app: web, v: "2"}},
 spec: {containers: [{name: c, ports: [{name: http, containerPort: 9090}]}]}, status: {podIP: 10.0.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: unready, namespace: demo, labels: {app: web}},
 spec: {hostname: unready, subdomain: each, containers: []},
 status: {podIP: 10.0.0.3, conditions: [{type: Ready, status: "False"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: ended, namespace: demo, labels: {app: web}},
 status: {podIP: 10.0.0.4, phase: Succeeded}}
---
{apiVersion: v1, kind: Pod, metadata: {name: elsewhere, namespace: other, labels: {app: web}},
 status: {podIP: 10.0.0.5}}
---
"#;

#[test]
fn endpoints_come_from_selector_readiness_and_named_ports() {
    let cluster = cluster(&format!(
        "{PODS}{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: demo}}, spec: {{clusterIP: \
         10.96.0.1, selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: http, nodePort: 30000}}, \
         {{name: plain, port: 7000}}, {{name: dns, port: 53, protocol: UDP}}]}}}}"
    ));
    assert_eq!(addresses(&cluster, "web", 80), ["10.0.0.1:8080", "10.0.0.2:9090", "[fd00::1]:8080"]);
    assert_eq!(addresses(&cluster, "web", 7000).len(), 3);
    assert_eq!(addresses(&cluster, "web", 53), [] as [String; 0]);
    assert_eq!(addresses(&cluster, "web", 81), [] as [String; 0]);
    assert_eq!(cluster.service_at("10.96.0.1".parse().unwrap()).unwrap().name, name("web"));
    assert_eq!(cluster.pod_at("10.0.0.4".parse().unwrap(), 1), None);
    assert_eq!(cluster.nodes().collect::<Vec<_>>(), ["one"]);
}

#[test]
fn headless_services_have_any_port_and_may_publish_unready_pods() {
    let service = |extra: &str| {
        cluster(&format!(
            "{PODS}{{apiVersion: v1, kind: Service, metadata: {{name: each, namespace: demo}}, spec: {{clusterIP: \
             None, selector: {{app: web}}, {extra} ports: [{{port: 80, targetPort: 8080}}]}}}}"
        ))
    };
    let plain = service("");
    assert_eq!(addresses(&plain, "each", 80), ["10.0.0.1:8080", "10.0.0.2:8080", "[fd00::1]:8080"]);
    assert_eq!(addresses(&plain, "each", 99), ["10.0.0.1:99", "10.0.0.2:99", "[fd00::1]:99"]);
    let all = service("publishNotReadyAddresses: true,");
    assert_eq!(addresses(&all, "each", 80).len(), 4);
    let named: Vec<_> = all
        .service(&name("each"))
        .unwrap()
        .endpoints(80)
        .into_iter()
        .filter_map(|found| found.hostname.map(|name| name.to_string()))
        .collect();
    assert_eq!(named, ["a", "unready", "a"]);
}

#[test]
fn slices_replace_selectors() {
    let cluster = cluster(&format!(
        r#"{PODS}{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: demo}},
 spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80}}]}}}}
---
{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
 metadata: {{name: s, namespace: demo, labels: {{kubernetes.io/service-name: web}}}},
 ports: [{{name: http, port: 1234}}, {{name: other, port: 1}}],
 endpoints: [
  {{addresses: [10.0.0.1], nodeName: n, zone: z, targetRef: {{kind: Pod, name: a}}}},
  {{addresses: [10.0.0.2], targetRef: {{kind: Pod, name: a}}}},
  {{addresses: [192.168.7.7]}},
  {{addresses: [10.0.0.9], conditions: {{ready: false}}}}]}}"#
    ));
    assert_eq!(addresses(&cluster, "web", 80), ["10.0.0.1:1234", "10.0.0.2:1234", "192.168.7.7:1234"]);
    let endpoints = cluster.service(&name("web")).unwrap().endpoints(80);
    let pods: Vec<_> =
        endpoints.iter().map(|found| found.pod.as_ref().map(|pod| pod.name.name.clone())).collect();
    // The second slice entry names the wrong pod; the address decides whose identity is expected.
    assert_eq!(pods, [Some("a".into()), Some("b".into()), None]);
    assert_eq!(cluster.zone_of("n"), Some("z"));
    assert_eq!(cluster.outside_networks(&mesh()).len(), 0);
}

#[test]
fn annotations_of_a_pod_override_those_of_its_namespace() {
    let pod = pod_of("");
    assert!(pod.is_meshed());
    assert!(pod.config.skip_outbound_ports.contains(9000) && !pod.config.skip_outbound_ports.contains(4567));
    assert!(pod.config.opaque_ports.contains(3306) && pod.config.skip_inbound_ports.contains(4567));
    assert_eq!(
        (pod.config.default_policy, pod.config.fail_mode),
        (Policy::AllUnauthenticated, FailMode::Open)
    );
    assert!(!pod_of("linkerd.io/inject: disabled").is_meshed());
    let pod =
        pod_of(r#"config.linkerd.io/skip-outbound-ports: "", config.linkerd.io/opaque-ports: "db,1-2""#);
    assert!(!pod.config.skip_outbound_ports.contains(9000));
    assert_eq!(pod.config.opaque_ports.ports().collect::<Vec<_>>(), [1, 2, 5000]);
}

#[test]
fn a_pod_cannot_undo_that_its_namespace_opts_out_of_taps() {
    let disabled = |pod: &str, namespace: &str| {
        let parse = |value: &str| {
            let annotations = [("viz.linkerd.io/disable-tap".to_owned(), value.to_owned())].into();
            Annotations::parse(Some(&annotations)).0
        };
        let none = Annotations::default;
        let (pod, namespace) = (
            if pod.is_empty() { none() } else { parse(pod) },
            if namespace.is_empty() { none() } else { parse(namespace) },
        );
        pod.or(&namespace).disable_tap.unwrap_or_default()
    };
    assert!(!disabled("", "") && !disabled("false", "false"));
    assert!(
        disabled("true", "")
            && disabled("", "true")
            && disabled("false", "true")
            && disabled("true", "false")
    );
    assert!(pod_of(r#"viz.linkerd.io/disable-tap: "true""#).config.tap_disabled);
    assert!(!pod_of("").config.tap_disabled);
}

#[test]
fn access_logs_and_detect_timeouts_are_set_by_annotations() {
    let settings = |annotations: &str| {
        let config = pod_of(annotations).config;
        (config.access_log, config.inbound_detect_timeout_disabled, config.outbound_detect_timeout_disabled)
    };
    assert_eq!(settings(""), (AccessLog::Off, false, false));
    assert_eq!(
        settings(
            r#"config.linkerd.io/access-log: json, config.linkerd.io/proxy-disable-inbound-protocol-detect-timeout: "true""#
        ),
        (AccessLog::Json, true, false)
    );
    assert_eq!(
        settings(
            r#"config.linkerd.io/access-log: apache, config.linkerd.io/proxy-disable-outbound-protocol-detect-timeout: "1""#
        ),
        (AccessLog::Apache, false, true)
    );
    let in_namespace = |pod: &str| {
        let text = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: demo, annotations: {{config.linkerd.io/access-log: \
             apache, config.linkerd.io/proxy-disable-inbound-protocol-detect-timeout: \"true\"}}}}}}\n---\n\
             {{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: demo, annotations: {{{pod}}}}}}}"
        );
        let cluster = cluster(&text);
        let config = &cluster.pod(&name("a")).unwrap().config;
        (config.access_log, config.inbound_detect_timeout_disabled)
    };
    assert_eq!(in_namespace(""), (AccessLog::Apache, true));
    assert_eq!(in_namespace(r#"config.linkerd.io/access-log: """#), (AccessLog::Off, true));
    let override_timeout = r#"config.linkerd.io/proxy-disable-inbound-protocol-detect-timeout: "false""#;
    assert_eq!(in_namespace(override_timeout), (AccessLog::Apache, false));
}

#[test]
fn app_protocols_declare_http_and_all_others_make_ports_opaque() {
    let service = cluster(
        r#"{apiVersion: v1, kind: Service, metadata: {name: web, namespace: demo, annotations: {config.linkerd.io/opaque-ports: "12"}},
 spec: {clusterIP: 10.96.0.1, ports: [
  {name: a, port: 1}, {name: b, port: 2, appProtocol: http}, {name: c, port: 3, appProtocol: kubernetes.io/h2c},
  {name: d, port: 4, appProtocol: HTTP}, {name: e, port: 5, appProtocol: ""},
  {name: f, port: 6, appProtocol: linkerd.io/tcp}, {name: g, port: 7, appProtocol: linkerd.io/opaque},
  {name: h, port: 8, appProtocol: https}, {name: i, port: 9, appProtocol: kubernetes.io/ws},
  {name: j, port: 10, appProtocol: grpc}, {name: k, port: 11, protocol: UDP, appProtocol: dns},
  {name: l, port: 12, appProtocol: http}]}}"#,
    );
    let service = service.service(&name("web")).unwrap();
    assert_eq!(service.opaque_ports.ports().collect::<Vec<_>>(), [6, 7, 8, 9, 10, 12]);
    assert_eq!(
        service.app_protocols.keys().copied().collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
    );
    for (port, protocol) in [
        (1, Protocol::Unknown),
        (2, Protocol::Http1),
        (3, Protocol::Http2),
        (4, Protocol::Http1),
        (5, Protocol::Unknown),
        (6, Protocol::Opaque),
        (10, Protocol::Opaque),
        (12, Protocol::Opaque),
        (13, Protocol::Unknown),
    ] {
        assert_eq!(service.protocol(port), protocol, "{port}");
    }
}

#[test]
fn servers_declare_the_protocols_of_ports() {
    let server = |number: u16, spec: &str| {
        format!(
            "---\n{{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {{name: s{number}, namespace: \
             demo}}, spec: {{port: {number}, {spec}}}}}\n"
        )
    };
    let cases = [
        (80, "accessPolicy: audit, proxyProtocol: unknown", Policy::Audit, Protocol::Unknown),
        (81, "accessPolicy: audit", Policy::Audit, Protocol::Unknown),
        (82, "proxyProtocol: opaque", Policy::Deny, Protocol::Opaque),
        (83, "proxyProtocol: HTTP/1", Policy::Deny, Protocol::Http1),
        (
            84,
            "accessPolicy: all-unauthenticated, proxyProtocol: HTTP/2",
            Policy::AllUnauthenticated,
            Protocol::Http2,
        ),
        (
            85,
            "accessPolicy: all-authenticated, proxyProtocol: gRPC",
            Policy::AllAuthenticated,
            Protocol::Grpc,
        ),
        (86, "accessPolicy: deny, proxyProtocol: TLS", Policy::Deny, Protocol::Tls),
    ];
    let pod = r#"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: demo, annotations:
 {config.linkerd.io/opaque-ports: "83,90", config.linkerd.io/proxy-require-identity-inbound-ports: "87"}}}
"#;
    let servers: String = cases.iter().map(|(number, spec, ..)| server(*number, spec)).collect();
    let cluster = cluster(&format!("{pod}{servers}"));
    let config = &cluster.pod(&name("a")).unwrap().config;
    let found: Vec<_> =
        config.port_policies.iter().map(|found| (found.port, found.policy, found.protocol)).collect();
    let declared = cases.map(|(number, _, policy, protocol)| (number, policy, protocol));
    assert_eq!(found[..cases.len()], declared);
    assert_eq!(found[cases.len()..], [(87, Policy::AllAuthenticated, Protocol::Unknown)]);
    assert_eq!(
        config.opaque_ports.ports().collect::<Vec<_>>(),
        [82, 90],
        "a Server overrides the annotation"
    );
}

#[test]
fn strict_policies_fail_closed() {
    for (annotations, expected) in [
        ("config.linkerd.io/default-inbound-policy: all-authenticated", FailMode::Closed),
        ("config.linkerd.io/default-inbound-policy: cluster-unauthenticated", FailMode::Open),
        ("config.linkerd.io/default-inbound-policy: audit", FailMode::Open),
        ("config.linkerd.io/default-inbound-policy: deny", FailMode::Closed),
        (r#"config.linkerd.io/proxy-require-identity-inbound-ports: "80""#, FailMode::Closed),
        ("config.linkerd.io/default-inbound-policy: deny, config.weft.dev/fail-mode: open", FailMode::Open),
    ] {
        assert_eq!(pod_of(annotations).config.fail_mode, expected, "{annotations}");
    }
}

#[test]
fn servers_override_annotations_port_by_port() {
    let server = |name: &str, spec: &str| {
        format!(
            "---\n{{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {{name: {name}, namespace: \
             demo}}, spec: {{{spec}}}}}\n"
        )
    };
    let text = format!(
        "{}\n{}{}{}{}",
        r#"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: demo, labels: {app: a, tier: db}, annotations:
 {config.linkerd.io/proxy-require-identity-inbound-ports: "80,81", config.linkerd.io/opaque-ports: "82"}},
 spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}}"#,
        server(
            "s1",
            "podSelector: {matchLabels: {app: a}}, port: http, accessPolicy: audit, proxyProtocol: opaque"
        ),
        server("s2", "podSelector: {matchLabels: {app: a}}, port: 80, accessPolicy: deny"),
        server("s3", "podSelector: {matchExpressions: [{key: tier, operator: In, values: [db]}]}, port: 82"),
        server("s4", "podSelector: {matchLabels: {app: other}}, port: 90"),
    );
    let cluster = cluster(&text);
    let config = &cluster.pod(&name("a")).unwrap().config;
    let policies: Vec<_> = config
        .port_policies
        .iter()
        .map(|found| (found.port, found.policy, found.server.as_deref()))
        .collect();
    assert_eq!(
        policies,
        [
            (80, Policy::Audit, Some("s1")),
            (81, Policy::AllAuthenticated, None),
            (82, Policy::Deny, Some("s3")),
        ]
    );
    assert_eq!(config.opaque_ports.ports().collect::<Vec<_>>(), [80]);
}

#[test]
fn owners_become_metric_labels() {
    let pod = |metadata: &str| {
        let text =
            format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: demo, {metadata}}}}}");
        format!("{:?}", cluster(&text).pod(&name("a")).unwrap().metric_labels)
    };
    let owner = |kind: &str, name: &str| {
        format!(
            "ownerReferences: [{{apiVersion: apps/v1, kind: {kind}, name: {name}, uid: u, controller: true}}]"
        )
    };
    let deployment =
        pod(&format!("labels: {{pod-template-hash: 5d8f}}, {}", owner("ReplicaSet", "web-5d8f")));
    assert_eq!(deployment, r#"{"deployment": "web", "pod_template_hash": "5d8f"}"#);
    assert_eq!(pod(&owner("StatefulSet", "db")), r#"{"statefulset": "db"}"#);
    assert_eq!(pod("labels: {linkerd.io/proxy-deployment: web}"), r#"{"deployment": "web"}"#);
    assert_eq!(pod("labels: {app: x}"), "{}");
}

#[test]
fn events_change_the_cluster_and_readers_are_notified_once_a_batch() {
    let objects = objects(PODS);
    let index = Index::new(Served::new());
    let mut changes = index.subscribe();
    let pods =
        |index: &Index| -> Vec<String> { index.snapshot().pods().map(|pod| pod.name.to_string()).collect() };
    let all = ["demo/a", "demo/b", "demo/unready", "other/elsewhere"];
    index.apply(objects.iter().cloned().map(Event::Applied).chain(Kind::ALL.map(Event::Synced)));
    assert_eq!(pods(&index), all);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();

    index.apply(objects.iter().cloned().map(Event::Applied));
    assert!(!changes.has_changed().unwrap(), "the same objects again");
    index.apply([Event::Deleted(Key::new(Kind::Pod, Some("demo"), "b"))]);
    assert!(changes.has_changed().unwrap());
    assert_eq!(pods(&index), ["demo/a", "demo/unready", "other/elsewhere"]);
    // A new list, in which b is back and another pod is missing.
    let listed = objects.iter().filter(|object| object.key().namespace == "demo").cloned();
    index.apply(listed.map(Event::Applied).chain([Event::Synced(Kind::Pod)]));
    assert_eq!(pods(&index), ["demo/a", "demo/b", "demo/unready"]);
}
