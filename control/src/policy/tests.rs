//! Checks what Linkerd sidecars are told about their ports.

use tonic::Code;
use weft_api::linkerd::inbound::{
    Authz, PortSpec, Server,
    authn::{Permit, permit_mesh_tls::Clients},
    proxy_protocol::Kind,
};

use crate::testing::{Running, within};

const CLUSTER: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: demo, labels: {app: a}, annotations: {config.linkerd.io/opaque-ports: "90"}},
 spec: {nodeName: one, containers: [{name: c, ports: [{name: http, containerPort: 80}],
  readinessProbe: {httpGet: {port: http, path: "/ready?x"}}, livenessProbe: {grpc: {port: 82}}}]}, status: {podIP: 10.0.0.1}}
---
{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: web, namespace: demo},
 spec: {podSelector: {matchLabels: {app: a}}, port: http, proxyProtocol: HTTP/1}}
---
{apiVersion: policy.linkerd.io/v1beta3, kind: Server, metadata: {name: rpc, namespace: demo}, spec: {port: 82, proxyProtocol: gRPC}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: AuthorizationPolicy, metadata: {name: web, namespace: demo},
 spec: {targetRef: {group: policy.linkerd.io, kind: Server, name: web}, requiredAuthenticationRefs: [
  {group: policy.linkerd.io, kind: MeshTLSAuthentication, name: friends}, {group: policy.linkerd.io, kind: NetworkAuthentication, name: near}]}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: MeshTLSAuthentication, metadata: {name: friends, namespace: demo},
 spec: {identities: ["*.x.serviceaccount.identity.linkerd.cluster.local"], identityRefs: [{kind: ServiceAccount, name: client}]}}
---
{apiVersion: policy.linkerd.io/v1alpha1, kind: NetworkAuthentication, metadata: {name: near, namespace: demo},
 spec: {networks: [{cidr: 10.0.0.0/8, except: [10.9.0.0/16]}]}}
"#;

fn port(port: u32) -> PortSpec {
    PortSpec { workload: r#"{"ns":"demo","pod":"a"}"#.into(), port }
}

fn line(authorization: &Authz) -> String {
    let networks: Vec<_> = authorization
        .networks
        .iter()
        .map(|network| {
            let net = |net: &weft_api::linkerd::net::IpNetwork| ipnet::IpNet::try_from(*net).unwrap();
            let except: Vec<_> = network.except.iter().map(|part| format!("-{}", net(part))).collect();
            format!("{}{}", net(network.net.as_ref().unwrap()), except.join(""))
        })
        .collect();
    let clients = match authorization.authentication.as_ref().unwrap().permit.as_ref().unwrap() {
        Permit::Unauthenticated(_) => "anybody".to_owned(),
        Permit::MeshTls(tls) => match tls.clients.as_ref().unwrap() {
            Clients::Unauthenticated(_) => "TLS".into(),
            Clients::Identities(found) => {
                let names = found.identities.iter().map(|identity| identity.name.clone());
                let ends = found.suffixes.iter().map(|suffix| format!("*.{}", suffix.parts.join(".")));
                names.chain(ends).collect::<Vec<_>>().join(",")
            }
        },
    };
    let label = |name: &str| authorization.labels[name].as_str();
    format!("{}/{} {clients} from {}", label("kind"), label("name"), networks.join(","))
}

fn lines(server: &Server) -> Vec<String> {
    server.authorizations.iter().map(line).collect()
}

fn kind(server: Server) -> Kind {
    server.protocol.unwrap().kind.unwrap()
}

#[tokio::test]
async fn a_port_with_a_server_has_its_protocol_and_authorizations() {
    let running = Running::start(CLUSTER).await;
    let server = running.policy().get_port(port(80)).await.unwrap().into_inner();
    assert_eq!(server.labels["name"], "web");
    assert_eq!(
        lines(&server),
        ["authorizationpolicy/web client.demo.serviceaccount.identity.linkerd.cluster.local,\
          *.x.serviceaccount.identity.linkerd.cluster.local from 10.0.0.0/8-10.9.0.0/16"]
    );
    let Kind::Http1(http) = kind(server) else { panic!() };
    let matches: Vec<_> =
        http.routes.iter().map(|route| format!("{:?}", route.rules[0].matches[0].path)).collect();
    assert!(matches[0].contains("Exact(\"/ready\")") && matches[1].contains("Prefix(\"/\")"), "{matches:?}");
    assert_eq!(line(&http.routes[0].authorizations[0]), "default/probe anybody from 0.0.0.0/0,::/0");
    assert_eq!(http.routes[1].authorizations, []);

    let rpc = running.policy().get_port(port(82)).await.unwrap().into_inner();
    assert_eq!(lines(&rpc), [] as [String; 0]);
    let Kind::Grpc(grpc) = kind(rpc) else { panic!() };
    let called = grpc.routes[0].rules[0].matches[0].rpc.as_ref().unwrap();
    assert_eq!((called.service.as_str(), called.method.as_str()), ("grpc.health.v1.Health", "Check"));
}

#[tokio::test]
async fn a_port_without_a_server_has_the_default_policy() {
    for (policy, expected) in [
        ("all-unauthenticated", Some("default/all-unauthenticated anybody from 0.0.0.0/0,::/0")),
        ("all-authenticated", Some("default/all-authenticated *. from 0.0.0.0/0,::/0")),
        ("cluster-unauthenticated", Some("default/cluster-unauthenticated anybody from 10.0.0.0/8,fd00::/8")),
        ("cluster-authenticated", Some("default/cluster-authenticated *. from 10.0.0.0/8,fd00::/8")),
        ("audit", Some("default/audit anybody from 0.0.0.0/0,::/0")),
        ("deny", None),
    ] {
        let annotation = format!("annotations: {{config.linkerd.io/default-inbound-policy: {policy}, ");
        let running = Running::start(&CLUSTER.replace("annotations: {", &annotation)).await;
        let server = running.policy().get_port(port(9999)).await.unwrap().into_inner();
        assert_eq!(lines(&server), Vec::from_iter(expected), "{policy}");
        assert_eq!((server.labels["kind"].as_str(), server.labels["name"].as_str()), ("default", policy));
        assert!(matches!(kind(server), Kind::Detect(_)));
        let opaque = running.policy().get_port(port(90)).await.unwrap().into_inner();
        assert!(matches!(kind(opaque), Kind::Opaque(_)));
    }
}

#[tokio::test]
async fn a_watch_follows_the_policies() {
    let running = Running::start(CLUSTER).await;
    let mut stream = running.policy().watch_port(port(80)).await.unwrap().into_inner();
    let next = async |stream: &mut tonic::Streaming<Server>| {
        lines(&within(stream.message()).await.unwrap().unwrap())
    };
    assert_eq!(next(&mut stream).await.len(), 1);
    running.manifest(&CLUSTER.replace("name: friends, namespace", "name: enemies, namespace"));
    assert_eq!(next(&mut stream).await, [] as [String; 0], "it refers to something that does not exist");
    running.manifest(CLUSTER);
    assert_eq!(next(&mut stream).await.len(), 1);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let running = Running::start(CLUSTER).await;
    for (workload, port, code) in [
        ("demo:b", 80, Code::NotFound),
        ("demo:a", 0, Code::InvalidArgument),
        ("demo:a", 70_000, Code::InvalidArgument),
        ("demo", 80, Code::InvalidArgument),
    ] {
        let spec = PortSpec { workload: workload.into(), port };
        let status = running.policy().get_port(spec.clone()).await.unwrap_err();
        assert_eq!(status.code(), code, "{workload}");
        assert_eq!(running.policy().watch_port(spec).await.unwrap_err().code(), code, "{workload}");
    }
}
