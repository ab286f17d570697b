//! Checks how destinations are resolved, and that streams follow the cluster.

use tonic::{Code, Streaming};
use weft_api::linkerd::destination::{
    DestinationProfile, GetDestination, Update, WeightedAddr, protocol_hint::Protocol,
    tls_identity::Strategy, update,
};

use crate::testing::{Running, serve_all, within};

const CLUSTER: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: demo, annotations: {linkerd.io/inject: enabled}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: demo, labels: {app: web, topology.kubernetes.io/zone: z1}, annotations:
  {config.linkerd.io/skip-inbound-ports: "9999", config.linkerd.io/opaque-ports: "8080"}},
 spec: {nodeName: one, serviceAccountName: web, hostname: web, subdomain: each}, status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: plain, namespace: demo, annotations: {linkerd.io/inject: disabled}},
 spec: {nodeName: two}, status: {podIP: 10.0.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: host, namespace: demo},
 spec: {nodeName: two, hostNetwork: true, containers: [{name: c, ports: [{containerPort: 80}]}]}, status: {podIP: 10.9.9.9}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: demo, annotations: {config.linkerd.io/opaque-ports: "81"}},
 spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, "fd00:96::1"], selector: {app: web}, ports: [{port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: 9999}, {name: c, port: 83, appProtocol: linkerd.io/tcp}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: each, namespace: demo}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: empty, namespace: demo}, spec: {clusterIP: 10.96.0.2, selector: {app: none}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: alias, namespace: demo}, spec: {type: ExternalName, externalName: example.com}}
"#;

const WEB: &str = "web.demo.serviceaccount.identity.linkerd.cluster.local";

fn ask(path: &str) -> GetDestination {
    GetDestination { scheme: String::new(), path: path.into(), context_token: r#"{"nodeName":"one"}"#.into() }
}

async fn running() -> Running {
    let running = Running::start(CLUSTER).await;
    serve_all(&running.index);
    running
}

async fn get(running: &Running, path: &str) -> Result<Streaming<Update>, Code> {
    running
        .destination()
        .get(ask(path))
        .await
        .map(|answer| answer.into_inner())
        .map_err(|status| status.code())
}

async fn watch_profile(running: &Running, path: &str) -> Result<Streaming<DestinationProfile>, Code> {
    let answer = running.destination().get_profile(ask(path)).await;
    answer.map(|answer| answer.into_inner()).map_err(|status| status.code())
}

async fn profile(running: &Running, path: &str) -> DestinationProfile {
    next(&mut watch_profile(running, path).await.unwrap()).await
}

async fn next<T>(stream: &mut Streaming<T>) -> T {
    within(stream.message()).await.unwrap().unwrap()
}

fn identity(addr: &WeightedAddr) -> Option<&str> {
    let tls = addr.tls_identity.as_ref()?;
    let Some(Strategy::DnsLikeIdentity(identity)) = &tls.strategy else { panic!("{tls:?}") };
    assert_eq!(tls.server_name.as_ref(), Some(identity));
    Some(&identity.name)
}

fn address(addr: &WeightedAddr) -> String {
    std::net::SocketAddr::try_from(addr.addr.unwrap()).unwrap().to_string()
}

fn added(update: Update) -> (Vec<WeightedAddr>, Vec<(String, String)>) {
    let Some(update::Update::Add(set)) = update.update else { panic!("{update:?}") };
    let mut labels: Vec<_> = set.metric_labels.into_iter().collect();
    labels.sort();
    (set.addrs, labels)
}

#[tokio::test]
async fn endpoints_have_identity_weight_hint_and_labels() {
    let running = running().await;
    let mut stream = get(&running, "web.demo.svc.cluster.local:80").await.unwrap();
    let (addrs, labels) = added(next(&mut stream).await);
    assert_eq!(addrs.iter().map(address).collect::<Vec<_>>(), ["10.0.0.1:8080", "[fd00::1]:8080"]);
    assert_eq!(labels, [("namespace".into(), "demo".into()), ("service".into(), "web".into())]);
    assert_eq!((identity(&addrs[0]), addrs[0].weight), (Some(WEB), 10_000));
    assert!(matches!(addrs[0].protocol_hint.as_ref().unwrap().protocol, Some(Protocol::Opaque(_))));
    let mut labels: Vec<_> =
        addrs[0].metric_labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.sort();
    assert_eq!(
        labels,
        ["control_plane_ns=linkerd", "pod=web", "serviceaccount=web", "zone=z1", "zone_locality=local"]
    );
    // The proxy takes no part in connections to a skipped port.
    let (addrs, _) = added(next(&mut get(&running, "web.demo.svc.cluster.local:81").await.unwrap()).await);
    assert_eq!((identity(&addrs[0]), addrs[0].protocol_hint.is_none()), (None, true));
    let (addrs, _) =
        added(next(&mut get(&running, "web.each.demo.svc.cluster.local:80").await.unwrap()).await);
    assert_eq!(addrs.len(), 2);
    for addr in &addrs {
        assert!(matches!(addr.protocol_hint.as_ref().unwrap().protocol, Some(Protocol::H2(_))), "{addr:?}");
    }
    // Nobody there would turn HTTP/2 back into HTTP/1.
    assert_eq!(profile(&running, "10.0.0.2:80").await.endpoint.unwrap().protocol_hint, None);
}

#[tokio::test]
async fn a_linkerd_sidecar_is_announced_with_its_own_identity_and_port() {
    let sidecar = r#"---
{apiVersion: v1, kind: Pod, metadata: {name: side, namespace: demo, labels: {app: side, linkerd.io/control-plane-ns: l5d}, annotations:
  {config.linkerd.io/opaque-ports: "3306"}},
 spec: {nodeName: one, serviceAccountName: side, initContainers: [{name: linkerd-proxy, restartPolicy: Always, env:
  [{name: LINKERD2_PROXY_INBOUND_LISTEN_ADDR, value: "0.0.0.0:4143"}]}]}, status: {podIP: 10.0.0.9}}
"#;
    let running = Running::start(&format!("{CLUSTER}{sidecar}")).await;
    for (port, protocol, has_port) in
        [(80, "H2(H2)", true), (3306, "Opaque(Opaque)", true), (4191, "H2(H2)", false)]
    {
        let endpoint = profile(&running, &format!("10.0.0.9:{port}")).await.endpoint.unwrap();
        let expected = "side.demo.serviceaccount.identity.l5d.cluster.local";
        assert_eq!(identity(&endpoint), Some(expected), "no proxy of weft has to report it");
        assert_eq!(endpoint.metric_labels["control_plane_ns"], "l5d");
        let hint = endpoint.protocol_hint.unwrap();
        assert_eq!(format!("{:?}", hint.protocol.unwrap()), protocol, "{port}");
        let inbound_port = hint.opaque_transport.map(|transport| transport.inbound_port);
        assert_eq!(inbound_port, has_port.then_some(4143), "{port}");
    }
    let skipped = profile(&running, "10.0.0.9:4567").await.endpoint.unwrap();
    assert_eq!((identity(&skipped), skipped.protocol_hint), (None, None));
}

#[tokio::test]
async fn a_stream_sees_endpoints_drain_and_its_zone_change() {
    let text = |conditions: &str, zone: &str| {
        format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: one, labels: {{topology.kubernetes.io/zone: {zone}}}}}}}\n---\n\
             {{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: demo}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n\
             {{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: s, namespace: demo, \
             labels: {{kubernetes.io/service-name: web}}}}, ports: [{{port: 80}}], endpoints: [\
             {{addresses: [10.0.0.1], zone: a, conditions: {{{conditions}}}}}, {{addresses: [10.0.0.2], zone: b}}]}}"
        )
    };
    let running = Running::start(&text("ready: true", "a")).await;
    let mut stream = get(&running, "web.demo.svc.cluster.local:80").await.unwrap();
    let localities = |addrs: &[WeightedAddr]| -> Vec<String> {
        addrs
            .iter()
            .map(|addr| format!("{} {}", address(addr), addr.metric_labels["zone_locality"]))
            .collect()
    };
    let (addrs, _) = added(next(&mut stream).await);
    assert_eq!(localities(&addrs), ["10.0.0.1:80 local", "10.0.0.2:80 remote"]);
    running.manifest(&text("ready: false, serving: true, terminating: true", "a"));
    let removed = next(&mut stream).await.update;
    assert!(matches!(removed, Some(update::Update::Remove(ref set)) if set.addrs.len() == 1), "{removed:?}");
    running.manifest(&text("ready: false, serving: true, terminating: true", "b"));
    assert_eq!(localities(&added(next(&mut stream).await).0), ["10.0.0.2:80 local"]);
}

#[tokio::test]
async fn an_external_name_is_refused_with_the_reason() {
    let running = running().await;
    let status = running.destination().get(ask("alias.demo.svc.cluster.local:80")).await.unwrap_err();
    assert!(
        status.message().contains("ExternalName") && status.message().contains("example.com"),
        "{status}"
    );
    let refused = watch_profile(&running, "alias.demo.svc.cluster.local:80").await.unwrap_err();
    assert_eq!(refused, Code::InvalidArgument);
}

#[tokio::test]
async fn a_destination_that_cannot_be_resolved_is_an_error() {
    let running = running().await;
    for (path, code) in [
        ("nobody.demo.svc.cluster.local:80", Code::NotFound),
        ("alias.demo.svc.cluster.local:80", Code::InvalidArgument),
        ("example.com:80", Code::InvalidArgument),
        ("10.0.0.1:80", Code::InvalidArgument),
    ] {
        assert_eq!(get(&running, path).await.unwrap_err(), code, "{path}");
    }
    assert_eq!(watch_profile(&running, "example.com:80").await.unwrap_err(), Code::InvalidArgument);
    let nobody = watch_profile(&running, "nobody.each.demo.svc.cluster.local:80").await.unwrap_err();
    assert_eq!(nobody, Code::NotFound);
    for path in ["empty.demo.svc.cluster.local:80", "web.demo.svc.cluster.local:82"] {
        let update = next(&mut get(&running, path).await.unwrap()).await.update;
        assert!(
            matches!(update, Some(update::Update::NoEndpoints(ref none)) if none.exists),
            "{path}: {update:?}"
        );
    }
}

#[tokio::test]
async fn profiles_of_services_pods_and_outside_addresses() {
    let running = running().await;
    for (path, opaque) in [
        ("10.96.0.1:80", false),
        ("10.96.0.1:83", true),
        ("[fd00:96::1]:81", true),
        ("web.demo.svc.cluster.local:81", true),
    ] {
        let found = profile(&running, path).await;
        assert_eq!(found.fully_qualified_name, "web.demo.svc.cluster.local", "{path}");
        assert_eq!((found.opaque_protocol, found.endpoint.is_some()), (opaque, false), "{path}");
        assert!(found.parent_ref.is_some() && found.retry_budget.is_some());
    }
    let pod = profile(&running, "[fd00::1]:8080").await;
    let endpoint = pod.endpoint.unwrap();
    assert_eq!((identity(&endpoint), address(&endpoint)), (Some(WEB), "[fd00::1]:8080".into()));
    assert_eq!(endpoint.metric_labels["namespace"], "demo");
    assert!(pod.opaque_protocol && pod.fully_qualified_name.is_empty());
    // Any port of a meshed pod is answered, its own listeners are not known here.
    assert_eq!(identity(&profile(&running, "10.0.0.1:1").await.endpoint.unwrap()), Some(WEB));
    assert_eq!(identity(&profile(&running, "10.0.0.1:9999").await.endpoint.unwrap()), None);
    for path in ["10.0.0.2:80", "10.9.9.9:80"] {
        assert_eq!(identity(&profile(&running, path).await.endpoint.unwrap()), None, "{path}");
    }
    for (path, opaque) in [("10.9.9.9:81", false), ("192.0.2.1:443", false), ("192.0.2.1:3306", true)] {
        let outside = profile(&running, path).await;
        assert_eq!((outside.endpoint, outside.fully_qualified_name), (None, String::new()), "{path}");
        assert_eq!(outside.opaque_protocol, opaque, "{path}");
    }
    let named = profile(&running, "web.each.demo.svc.cluster.local:80").await;
    assert_eq!(address(&named.endpoint.unwrap()), "10.0.0.1:80");
}

#[tokio::test]
async fn streams_follow_the_cluster_with_differences() {
    let running = running().await;
    let mut endpoints = get(&running, "web.demo.svc.cluster.local:80").await.unwrap();
    let mut by_ip = watch_profile(&running, "10.0.0.3:80").await.unwrap();
    assert_eq!(added(next(&mut endpoints).await).0.len(), 2);
    assert_eq!(next(&mut by_ip).await.endpoint, None);

    let newcomer = r#"---
{apiVersion: v1, kind: Pod, metadata: {name: web2, namespace: demo, labels: {app: web}}, spec: {nodeName: two, serviceAccountName: web}, status: {podIP: 10.0.0.3}}
"#;
    running.manifest(&format!("{CLUSTER}{newcomer}"));
    let (addrs, _) = added(next(&mut endpoints).await);
    assert_eq!(addrs.iter().map(address).collect::<Vec<_>>(), ["10.0.0.3:8080"]);
    assert_eq!(identity(&addrs[0]), None, "announced as meshed before its proxy serves it");
    assert_eq!(addrs[0].protocol_hint, None, "a hint that only a proxy would understand");
    assert_eq!(identity(&next(&mut by_ip).await.endpoint.unwrap()), None);
    serve_all(&running.index);
    assert_eq!(identity(&added(next(&mut endpoints).await).0[0]), Some(WEB));
    assert_eq!(identity(&next(&mut by_ip).await.endpoint.unwrap()), Some(WEB));

    running.manifest(&CLUSTER.replace(
        r#"spec: {nodeName: one, serviceAccountName: web,"#,
        r#"spec: {nodeName: one, serviceAccountName: new,"#,
    ));
    let (addrs, _) = added(next(&mut endpoints).await);
    assert_eq!(identity(&addrs[0]), Some("new.demo.serviceaccount.identity.linkerd.cluster.local"));
    let removed = next(&mut endpoints).await.update;
    assert!(matches!(removed, Some(update::Update::Remove(ref set)) if set.addrs.len() == 1), "{removed:?}");
    assert_eq!(next(&mut by_ip).await.endpoint, None);

    running.manifest("");
    let gone = next(&mut endpoints).await.update;
    assert!(matches!(gone, Some(update::Update::NoEndpoints(ref none)) if !none.exists), "{gone:?}");

    let stopped = tokio::spawn(running.stop());
    let status = within(endpoints.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    within(stopped).await.unwrap();
}

#[tokio::test]
async fn a_broken_manifest_changes_nothing() {
    let running = running().await;
    let mut by_ip = watch_profile(&running, "10.96.0.1:80").await.unwrap();
    next(&mut by_ip).await;
    running.manifest(&CLUSTER.replace("10.96.0.1", "10.96.0.999"));
    let errors = async {
        while !http(running.admin, "/metrics").await.contains("weft_control_manifest_errors 2") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within(errors).await;
    assert!(http(running.admin, "/ready").await.contains("200 OK"));
    running.manifest(&CLUSTER.replace("10.96.0.1", "10.96.0.7"));
    assert_eq!(next(&mut by_ip).await.fully_qualified_name, "");
}

#[tokio::test]
async fn twenty_thousand_watches_on_one_connection() {
    let running = running().await;
    let mut client = running.destination();
    let mut streams = Vec::new();
    for number in 0..20_000u32 {
        let path = format!("10.1.{}.{}:80", number >> 8 & 255, number & 255);
        let mut stream = client.get_profile(ask(&path)).await.unwrap().into_inner();
        next(&mut stream).await;
        streams.push(stream);
    }
    running.manifest(&CLUSTER.replace("10.96.0.1", "10.1.0.7"));
    assert_eq!(next(&mut streams[7]).await.fully_qualified_name, "web.demo.svc.cluster.local");
    drop(streams);
    let closed = async {
        while !http(running.admin, "/metrics")
            .await
            .contains(r#"streams_open{method="destination.GetProfile"} 0"#)
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within(closed).await;
}

async fn http(admin: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The encoder keeps a buffer as large as a stream's largest message.
#[tokio::test]
async fn many_endpoints_come_in_small_messages() {
    let addresses: Vec<_> = (1..=40).map(|number| format!("{{addresses: [10.0.1.{number}]}}")).collect();
    let cluster = format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: many, namespace: demo}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n\
         {{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: many-x, namespace: \
         demo, labels: {{kubernetes.io/service-name: many}}}}, ports: [{{port: 80}}], endpoints: [{}]}}",
        addresses.join(", ")
    );
    let running = Running::start(&cluster).await;
    let mut stream = get(&running, "many.demo.svc.cluster.local:80").await.unwrap();
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 40 {
        sizes.push(added(next(&mut stream).await).0.len());
    }
    assert_eq!(sizes, [6, 6, 6, 6, 6, 6, 4]);
}
