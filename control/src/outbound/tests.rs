//! Checks what clients are told about the protocols of services, and that they hear of changes.

use tonic::{Code, Streaming};
use weft_api::linkerd::{
    meta::{Metadata, metadata},
    net::TcpAddress,
    outbound::{
        Backend, HttpRoute, OpaqueRoute, OutboundPolicy, TrafficSpec,
        backend::{self, balance_p2c::Load, endpoint_discovery},
        http_route, opaque_route,
        proxy_protocol::Kind,
        traffic_spec::Target,
    },
};

use crate::testing::{Running, within};

const CLUSTER: &str = r#"
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: demo, annotations: {config.linkerd.io/opaque-ports: "84"}},
 spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, "fd00:96::1"], selector: {app: web}, ports: [
  {name: a, port: 80}, {name: b, port: 81, appProtocol: http}, {name: c, port: 82, appProtocol: kubernetes.io/h2c},
  {name: d, port: 83, appProtocol: grpc}, {name: e, port: 84}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: each, namespace: demo}, spec: {clusterIP: None, selector: {app: web},
 ports: [{port: 80, appProtocol: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: alias, namespace: demo}, spec: {type: ExternalName, externalName: example.com}}
"#;

fn at(address: &str) -> TrafficSpec {
    let address: std::net::SocketAddr = address.parse().unwrap();
    asking(Some(Target::Addr(address.into())))
}

fn named(authority: &str) -> TrafficSpec {
    asking(Some(Target::Authority(authority.into())))
}

fn asking(target: Option<Target>) -> TrafficSpec {
    TrafficSpec { source_workload: r#"{"ns":"demo","pod":"client"}"#.into(), target }
}

async fn get(running: &Running, request: TrafficSpec) -> Result<OutboundPolicy, Code> {
    let answer = running.outbound().get(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.code())
}

async fn next(stream: &mut Streaming<OutboundPolicy>) -> String {
    protocol(&within(stream.message()).await.unwrap().unwrap())
}

/// The protocol, with the names of its routes and where they lead.
fn protocol(policy: &OutboundPolicy) -> String {
    match policy.protocol.as_ref().unwrap().kind.as_ref().unwrap() {
        Kind::Detect(detect) => {
            assert_eq!(detect.timeout.unwrap().seconds, 10);
            let (http1, http2) = (detect.http1.as_ref().unwrap(), detect.http2.as_ref().unwrap());
            format!(
                "detect {}, {} or {}",
                http(&http1.routes),
                http(&http2.routes),
                opaque(&detect.opaque.as_ref().unwrap().routes)
            )
        }
        Kind::Opaque(found) => format!("opaque {}", opaque(&found.routes)),
        Kind::Http1(found) => format!("HTTP/1 {}", http(&found.routes)),
        Kind::Http2(found) => format!("HTTP/2 {}", http(&found.routes)),
        other => panic!("{other:?}"),
    }
}

fn http(routes: &[HttpRoute]) -> String {
    let [HttpRoute { metadata, hosts, rules }] = routes else { panic!("{routes:?}") };
    let [rule] = rules.as_slice() else { panic!("{rules:?}") };
    assert!(hosts.is_empty() && rule.filters.is_empty() && rule.retry.is_none(), "{rule:?}");
    assert!(format!("{:?}", rule.matches).contains(r#"Prefix("/")"#), "{rule:?}");
    let Some(http_route::distribution::Kind::FirstAvailable(first)) = &rule.backends.as_ref().unwrap().kind
    else {
        panic!("{rule:?}")
    };
    let [only] = first.backends.as_slice() else { panic!("{first:?}") };
    format!("{}->{}", default(metadata.as_ref()), path(only.backend.as_ref().unwrap()))
}

fn opaque(routes: &[OpaqueRoute]) -> String {
    let [OpaqueRoute { metadata, rules }] = routes else { panic!("{routes:?}") };
    let [rule] = rules.as_slice() else { panic!("{rules:?}") };
    let to = match rule.backends.as_ref().unwrap().kind.as_ref().unwrap() {
        opaque_route::distribution::Kind::Empty(_) => format!("{:?}", rule.filters[0].kind.as_ref().unwrap()),
        opaque_route::distribution::Kind::FirstAvailable(first) => {
            path(first.backends[0].backend.as_ref().unwrap())
        }
        other => panic!("{other:?}"),
    };
    format!("{}->{to}", default(metadata.as_ref()))
}

fn default(metadata: Option<&Metadata>) -> &str {
    match metadata.and_then(|metadata| metadata.kind.as_ref()) {
        Some(metadata::Kind::Default(name)) => name,
        other => panic!("{other:?}"),
    }
}

/// The path by which the endpoints of a backend are found. Checks the settings of the balancer.
fn path(backend: &Backend) -> String {
    let queue = backend.queue.as_ref().unwrap();
    assert_eq!((queue.capacity, queue.failfast_timeout.unwrap().seconds), (100, 3));
    let Some(backend::Kind::Balancer(balancer)) = &backend.kind else { panic!("{backend:?}") };
    let Some(Load::PeakEwma(load)) = &balancer.load else { panic!("{balancer:?}") };
    assert_eq!((load.default_rtt.unwrap().nanos, load.decay.unwrap().seconds), (30_000_000, 10));
    let Some(endpoint_discovery::Kind::Dst(dst)) = &balancer.discovery.as_ref().unwrap().kind else {
        panic!("{balancer:?}")
    };
    dst.path.clone()
}

#[tokio::test]
async fn a_declared_protocol_is_the_only_one() {
    let running = Running::start(CLUSTER).await;
    for (port, expected) in [
        (80, "detect http->WEB:80, http->WEB:80 or opaq->WEB:80"),
        (81, "HTTP/1 http->WEB:81"),
        (82, "HTTP/2 http->WEB:82"),
        // As in Linkerd, a protocol that it does not know is not interpreted.
        (83, "opaque opaq->WEB:83"),
        (84, "opaque opaq->WEB:84"),
    ] {
        let expected = expected.replace("WEB", "web.demo.svc.cluster.local");
        for request in [
            at(&format!("10.96.0.1:{port}")),
            at(&format!("[fd00:96::1]:{port}")),
            named(&format!("web.demo.svc.cluster.local:{port}")),
            named(&format!("10.96.0.1:{port}")),
        ] {
            let policy = get(&running, request).await.unwrap();
            assert_eq!(protocol(&policy), expected);
            let Some(metadata::Kind::Resource(service)) = policy.metadata.unwrap().kind else { panic!() };
            let found = (service.group.as_str(), service.kind.as_str(), service.name.as_str(), service.port);
            assert_eq!(found, ("core", "Service", "web", port));
        }
    }
    let headless = get(&running, named("each.demo.svc.cluster.local")).await.unwrap();
    assert_eq!(protocol(&headless), "HTTP/1 http->each.demo.svc.cluster.local:80");
}

#[tokio::test]
async fn a_port_that_the_service_does_not_have_is_forbidden_at_its_address() {
    let running = Running::start(CLUSTER).await;
    let policy = get(&running, at("10.96.0.1:90")).await.unwrap();
    assert_eq!(protocol(&policy), "opaque undefined-port->Forbidden(Forbidden)");
    let named = get(&running, named("web.demo.svc.cluster.local:90")).await.unwrap();
    assert!(protocol(&named).starts_with("detect"), "{named:?}");
}

#[tokio::test]
async fn what_is_not_known_is_an_error_that_says_so() {
    let running = Running::start(CLUSTER).await;
    let no_ip = Target::Addr(TcpAddress { ip: None, port: 80 });
    let no_port = Target::Addr(TcpAddress { ip: Some(std::net::Ipv4Addr::LOCALHOST.into()), port: 0 });
    let large_port =
        Target::Addr(TcpAddress { ip: Some(std::net::Ipv4Addr::LOCALHOST.into()), port: 70_000 });
    for (request, code) in [
        (at("10.0.0.1:80"), Code::NotFound),
        (at("192.0.2.1:443"), Code::NotFound),
        (named("nobody.demo.svc.cluster.local:80"), Code::NotFound),
        (named("web-0.each.demo.svc.cluster.local:80"), Code::NotFound),
        (named("alias.demo.svc.cluster.local:80"), Code::InvalidArgument),
        (named("example.com:443"), Code::InvalidArgument),
        (named(""), Code::InvalidArgument),
        (asking(Some(no_ip)), Code::InvalidArgument),
        (asking(Some(no_port)), Code::InvalidArgument),
        (asking(Some(large_port)), Code::InvalidArgument),
        (asking(None), Code::InvalidArgument),
        (TrafficSpec { source_workload: "nonsense".into(), ..at("10.96.0.1:80") }, Code::InvalidArgument),
    ] {
        assert_eq!(get(&running, request.clone()).await.unwrap_err(), code, "{request:?}");
        let status = running.outbound().watch(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), code, "{request:?}");
        assert!(!status.message().is_empty());
    }
    // A node proxy asks for all its pods.
    let node = TrafficSpec { source_workload: String::new(), ..at("10.96.0.1:80") };
    assert!(get(&running, node).await.is_ok());
}

#[tokio::test]
async fn a_watch_follows_the_service_and_nothing_else() {
    let running = Running::start(CLUSTER).await;
    let mut by_address = running.outbound().watch(at("10.96.0.1:80")).await.unwrap().into_inner();
    let mut by_name =
        running.outbound().watch(named("web.demo.svc.cluster.local:80")).await.unwrap().into_inner();
    for stream in [&mut by_address, &mut by_name] {
        assert!(next(stream).await.starts_with("detect"));
    }
    // A change that is none of this port.
    let elsewhere = CLUSTER.replace("port: 82, appProtocol: kubernetes.io/h2c", "port: 82");
    let mut other = running.outbound().watch(at("10.96.0.1:82")).await.unwrap().into_inner();
    assert!(next(&mut other).await.starts_with("HTTP/2"));
    running.manifest(&elsewhere);
    assert!(next(&mut other).await.starts_with("detect"));

    for (declared, expected) in [
        ("port: 80, appProtocol: http", "HTTP/1"),
        ("port: 80, appProtocol: kubernetes.io/h2c", "HTTP/2"),
        ("port: 80, appProtocol: linkerd.io/tcp", "opaque"),
        ("port: 80", "detect"),
    ] {
        running.manifest(&elsewhere.replacen("port: 80", declared, 1));
        for stream in [&mut by_address, &mut by_name] {
            let found = next(stream).await;
            assert!(found.starts_with(expected), "{declared}: {found}");
        }
    }

    // The service goes, and its address becomes another one's. That one declares something else.
    running.manifest("");
    running.manifest(
        r#"{apiVersion: v1, kind: Service, metadata: {name: new, namespace: demo},
 spec: {clusterIP: 10.96.0.1, ports: [{port: 80, appProtocol: http}]}}"#,
    );
    assert_eq!(next(&mut by_address).await, "HTTP/1 http->new.demo.svc.cluster.local:80");
}
