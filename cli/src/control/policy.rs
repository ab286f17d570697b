//! Asks for the policy of a port, and describes it as JSON.

use anyhow::Result;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tonic::{Status, transport::Channel};
use weft_api::linkerd::{
    grpc_route::GrpcRouteMatch,
    http_route::{HttpRouteMatch, path_match},
    http_types::{HttpMethod, http_method},
    inbound::{
        Authz, GrpcRoute, HttpRoute, Network, PortSpec, Server,
        authn::{Permit, permit_mesh_tls::Clients},
        inbound_server_policies_client::InboundServerPoliciesClient,
        proxy_protocol::Kind,
    },
    meta::Metadata,
    net::IpNetwork,
};

use super::describe::{duration, ip, metadata, without_nulls};
use crate::kubernetes::names;

/// The policy of a port of a pod. A `token` names the pod to weft-control instead.
pub(crate) async fn port(
    channel: &Channel,
    pod: &Pod,
    port: u16,
    token: Option<&str>,
) -> Result<Result<Server, Status>> {
    let (namespace, name) = names(pod)?;
    let own = json!({ "ns": namespace, "pod": name }).to_string();
    let request = PortSpec { workload: token.map_or(own, str::to_owned), port: port.into() };
    let answer = InboundServerPoliciesClient::new(channel.clone()).get_port(request).await;
    Ok(answer.map(tonic::Response::into_inner))
}

/// A route of a port, whatever its protocol.
pub(crate) struct Route<'a> {
    pub(crate) metadata: Option<&'a Metadata>,
    /// They admit clients to this route besides those of the whole port.
    pub(crate) authorizations: &'a [Authz],
    matches: Vec<Value>,
}

/// The routes of a port.
pub(crate) fn routes(server: &Server) -> Vec<Route<'_>> {
    match server.protocol.as_ref().and_then(|protocol| protocol.kind.as_ref()) {
        Some(Kind::Detect(detect)) => detect.http_routes.iter().map(http).collect(),
        Some(Kind::Http1(http1)) => http1.routes.iter().map(http).collect(),
        Some(Kind::Http2(http2)) => http2.routes.iter().map(http).collect(),
        Some(Kind::Grpc(with_routes)) => with_routes.routes.iter().map(grpc).collect(),
        Some(Kind::Opaque(_) | Kind::Tls(_)) | None => Vec::new(),
    }
}

/// The whole policy of a port.
pub(crate) fn server(server: &Server) -> Value {
    let kind = server.protocol.as_ref().and_then(|protocol| protocol.kind.as_ref());
    let timeout = match kind {
        Some(Kind::Detect(detect)) => detect.timeout.as_ref().map(|t| duration((t.seconds, t.nanos))),
        _ => None,
    };
    let routes: Vec<_> = routes(server).iter().map(route).collect();
    let protocol = without_nulls([
        ("kind", kind.map(|kind| json!(protocol_name(kind)))),
        ("detectTimeout", timeout),
        ("routes", (!routes.is_empty()).then(|| json!(routes))),
    ]);
    json!({
        "serverIps": server.server_ips.iter().map(ip).collect::<Vec<_>>(),
        "labels": server.labels,
        "protocol": protocol,
        "authorizations": server.authorizations.iter().map(authorization).collect::<Vec<_>>(),
    })
}

fn protocol_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Detect(_) => "detect",
        Kind::Http1(_) => "http1",
        Kind::Http2(_) => "http2",
        Kind::Grpc(_) => "grpc",
        Kind::Opaque(_) => "opaque",
        Kind::Tls(_) => "tls",
    }
}

fn http(route: &HttpRoute) -> Route<'_> {
    let matches = route.rules.iter().flat_map(|rule| &rule.matches).map(http_match).collect();
    Route { metadata: route.metadata.as_ref(), authorizations: &route.authorizations, matches }
}

fn grpc(route: &GrpcRoute) -> Route<'_> {
    let matches = route.rules.iter().flat_map(|rule| &rule.matches).map(grpc_match).collect();
    Route { metadata: route.metadata.as_ref(), authorizations: &route.authorizations, matches }
}

fn route(route: &Route<'_>) -> Value {
    let authorizations: Vec<_> = route.authorizations.iter().map(authorization).collect();
    without_nulls([
        ("metadata", route.metadata.map(metadata)),
        ("matches", (!route.matches.is_empty()).then(|| json!(route.matches))),
        ("authorizations", (!authorizations.is_empty()).then(|| json!(authorizations))),
    ])
}

fn http_match(found: &HttpRouteMatch) -> Value {
    let path = found.path.as_ref().and_then(|path| path.kind.as_ref()).map(|kind| match kind {
        path_match::Kind::Exact(path) => json!({ "exact": path }),
        path_match::Kind::Prefix(path) => json!({ "prefix": path }),
        path_match::Kind::Regex(path) => json!({ "regex": path }),
    });
    let matched = |count: usize| (count > 0).then(|| json!(count));
    without_nulls([
        ("path", path),
        ("method", found.method.as_ref().and_then(method)),
        ("headers", matched(found.headers.len())),
        ("queryParams", matched(found.query_params.len())),
    ])
}

fn grpc_match(found: &GrpcRouteMatch) -> Value {
    let text = |text: &str| (!text.is_empty()).then(|| json!(text));
    let rpc = found.rpc.as_ref();
    without_nulls([
        ("service", rpc.and_then(|rpc| text(&rpc.service))),
        ("method", rpc.and_then(|rpc| text(&rpc.method))),
    ])
}

fn method(method: &HttpMethod) -> Option<Value> {
    match method.r#type.as_ref()? {
        http_method::Type::Unregistered(name) => Some(json!(name)),
        http_method::Type::Registered(number) => {
            let registered = http_method::Registered::try_from(*number).ok()?;
            Some(json!(registered.as_str_name()))
        }
    }
}

fn authorization(authz: &Authz) -> Value {
    let permit = authz.authentication.as_ref().and_then(|authentication| authentication.permit.as_ref());
    let authentication = match permit {
        Some(Permit::Unauthenticated(_)) => json!("unauthenticated"),
        Some(Permit::MeshTls(tls)) => match &tls.clients {
            Some(Clients::Identities(clients)) => {
                let names = clients.identities.iter().map(|identity| identity.name.clone());
                // Without parts, every identity ends like this.
                let suffixes = clients.suffixes.iter().map(|suffix| match suffix.parts.is_empty() {
                    true => "*".to_owned(),
                    false => format!("*.{}", suffix.parts.join(".")),
                });
                json!({ "meshTLS": { "identities": names.chain(suffixes).collect::<Vec<_>>() } })
            }
            Some(Clients::Unauthenticated(_)) | None => json!({ "meshTLS": "unauthenticated" }),
        },
        None => Value::Null,
    };
    without_nulls([
        ("metadata", authz.metadata.as_ref().map(metadata)),
        ("networks", Some(authz.networks.iter().map(network).collect())),
        ("authentication", Some(authentication)),
    ])
}

fn network(network: &Network) -> Value {
    let cidr = |network: &IpNetwork| {
        IpNet::try_from(*network).map_or(Value::Null, |network| json!(network.to_string()))
    };
    let except: Vec<_> = network.except.iter().map(cidr).collect();
    without_nulls([
        ("net", network.net.as_ref().map(cidr)),
        ("except", (!except.is_empty()).then(|| json!(except))),
    ])
}
