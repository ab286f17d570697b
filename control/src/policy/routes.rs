//! The routes of a port: health checks, which the kubelet may make, and everything else.

use weft_api::linkerd::{
    grpc_route::{GrpcRouteMatch, GrpcRpcMatch},
    http_route::{HttpRouteMatch, PathMatch, path_match},
    http_types::{HttpMethod, http_method},
    inbound::{GrpcRoute, HttpRoute, grpc_route, http_route},
    meta::{Metadata, metadata},
};

use super::authz;
use crate::{index::Pod, mesh::Mesh};

pub(super) fn http(pod: &Pod, port: u16, mesh: &Mesh) -> Vec<HttpRoute> {
    let get = HttpMethod { r#type: Some(http_method::Type::Registered(http_method::Registered::Get.into())) };
    let probes: Vec<_> = paths(pod, port)
        .map(|path| HttpRouteMatch {
            path: Some(PathMatch { kind: Some(path_match::Kind::Exact(path.to_owned())) }),
            method: Some(get.clone()),
            ..HttpRouteMatch::default()
        })
        .collect();
    let everything = HttpRouteMatch {
        path: Some(PathMatch { kind: Some(path_match::Kind::Prefix("/".into())) }),
        ..HttpRouteMatch::default()
    };
    let route = |name: &str, matches, authorizations| HttpRoute {
        metadata: Some(default(name)),
        hosts: Vec::new(),
        authorizations,
        rules: vec![http_route::Rule { matches, filters: Vec::new() }],
    };
    let probe = (!probes.is_empty()).then(|| route("probe", probes, vec![authz::probe(mesh)]));
    probe.into_iter().chain([route("default", vec![everything], Vec::new())]).collect()
}

pub(super) fn grpc(pod: &Pod, port: u16, mesh: &Mesh) -> Vec<GrpcRoute> {
    let rpc = |service: &str, method: &str| GrpcRouteMatch {
        rpc: Some(GrpcRpcMatch { service: service.into(), method: method.into() }),
        headers: Vec::new(),
    };
    let calls = paths(pod, port).filter_map(|path| path.strip_prefix('/')?.split_once('/'));
    let probes: Vec<_> = calls.map(|(service, method)| rpc(service, method)).collect();
    let route = |name: &str, matches, authorizations| GrpcRoute {
        metadata: Some(default(name)),
        hosts: Vec::new(),
        authorizations,
        rules: vec![grpc_route::Rule { matches, filters: Vec::new() }],
    };
    let probe = (!probes.is_empty()).then(|| route("probe", probes, vec![authz::probe(mesh)]));
    probe.into_iter().chain([route("default", vec![rpc("", "")], Vec::new())]).collect()
}

/// The paths of the health checks of a port that are not hidden by TLS.
fn paths(pod: &Pod, port: u16) -> impl Iterator<Item = &str> {
    pod.probes
        .iter()
        .filter(move |probe| probe.port == port && !probe.tls)
        .filter_map(|probe| probe.path.as_deref())
}

fn default(name: &str) -> Metadata {
    Metadata { kind: Some(metadata::Kind::Default(name.into())) }
}
