//! Describes how to speak to a service as Linkerd's API does: its protocol, and a default route to its endpoints.

use std::time::Duration;

use weft_api::linkerd::{
    http_route::{HttpRouteMatch, PathMatch, Timeouts, path_match},
    meta::{Metadata, metadata},
    opaque_route::Forbidden,
    outbound::{
        Backend, HttpRoute, OpaqueRoute, OutboundPolicy, ProxyProtocol, Queue,
        backend::{
            self, BalanceP2c, EndpointDiscovery,
            balance_p2c::{Load, PeakEwma},
            endpoint_discovery::{self, DestinationGet},
        },
        http_route, opaque_route,
        proxy_protocol::{Detect, Http1, Http2, Kind, Opaque},
    },
};

use crate::{destination::resource, index::Service, mesh::Mesh, settings::Protocol};

/// Linkerd's defaults.
const DETECT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_RTT: Duration = Duration::from_millis(30);
const RTT_DECAY: Duration = Duration::from_secs(10);
const QUEUE_CAPACITY: u32 = 100;
const FAILFAST_TIMEOUT: Duration = Duration::from_secs(3);

/// The policy of a port of a service.
pub(super) fn policy(service: &Service, port: u16, mesh: &Mesh) -> OutboundPolicy {
    let backend = backend(service, port, mesh);
    let opaque = || Opaque { routes: vec![opaque_route(backend.clone())] };
    let http1 = || Http1 { routes: vec![http_route(backend.clone())], failure_accrual: None };
    let http2 = || Http2 { routes: vec![http_route(backend.clone())], failure_accrual: None };
    let kind = match service.protocol(port) {
        Protocol::Http1 => Kind::Http1(http1()),
        Protocol::Http2 | Protocol::Grpc => Kind::Http2(http2()),
        Protocol::Opaque | Protocol::Tls => Kind::Opaque(opaque()),
        Protocol::Unknown => Kind::Detect(Detect {
            timeout: DETECT_TIMEOUT.try_into().ok(),
            opaque: Some(opaque()),
            http1: Some(http1()),
            http2: Some(http2()),
        }),
    };
    of(service, port, kind)
}

/// The policy of a port that a service does not have: connections are refused.
pub(super) fn undefined_port(service: &Service, port: u16) -> OutboundPolicy {
    use opaque_route::{Distribution, Filter, Rule, distribution, filter};
    let rule = Rule {
        backends: Some(Distribution { kind: Some(distribution::Kind::Empty(distribution::Empty {})) }),
        filters: vec![Filter { kind: Some(filter::Kind::Forbidden(Forbidden {})) }],
    };
    let route = OpaqueRoute { metadata: Some(default("undefined-port")), rules: vec![rule] };
    of(service, port, Kind::Opaque(Opaque { routes: vec![route] }))
}

fn of(service: &Service, port: u16, kind: Kind) -> OutboundPolicy {
    OutboundPolicy {
        protocol: Some(ProxyProtocol { kind: Some(kind) }),
        metadata: Some(reference(service, port)),
    }
}

fn http_route(backend: Backend) -> HttpRoute {
    use http_route::{Distribution, RouteBackend, Rule, distribution};
    let everything = HttpRouteMatch {
        path: Some(PathMatch { kind: Some(path_match::Kind::Prefix("/".into())) }),
        ..HttpRouteMatch::default()
    };
    let backends = vec![RouteBackend { backend: Some(backend), ..RouteBackend::default() }];
    let first = distribution::Kind::FirstAvailable(distribution::FirstAvailable { backends });
    HttpRoute {
        metadata: Some(default("http")),
        hosts: Vec::new(),
        rules: vec![Rule {
            matches: vec![everything],
            backends: Some(Distribution { kind: Some(first) }),
            timeouts: Some(Timeouts::default()),
            ..Rule::default()
        }],
    }
}

fn opaque_route(backend: Backend) -> OpaqueRoute {
    use opaque_route::{Distribution, RouteBackend, Rule, distribution};
    let backends = vec![RouteBackend { backend: Some(backend), filters: Vec::new() }];
    let first = distribution::Kind::FirstAvailable(distribution::FirstAvailable { backends });
    OpaqueRoute {
        // Linkerd's name.
        metadata: Some(default("opaq")),
        rules: vec![Rule { backends: Some(Distribution { kind: Some(first) }), filters: Vec::new() }],
    }
}

/// The endpoints of the service, which the client gets from the destination service.
fn backend(service: &Service, port: u16, mesh: &Mesh) -> Backend {
    let path = format!("{}:{port}", mesh.authority(&service.name.name, &service.name.namespace));
    let load = PeakEwma { default_rtt: DEFAULT_RTT.try_into().ok(), decay: RTT_DECAY.try_into().ok() };
    Backend {
        metadata: Some(reference(service, port)),
        queue: Some(Queue { capacity: QUEUE_CAPACITY, failfast_timeout: FAILFAST_TIMEOUT.try_into().ok() }),
        kind: Some(backend::Kind::Balancer(BalanceP2c {
            discovery: Some(EndpointDiscovery {
                kind: Some(endpoint_discovery::Kind::Dst(DestinationGet { path })),
            }),
            load: Some(Load::PeakEwma(load)),
        })),
    }
}

fn reference(service: &Service, port: u16) -> Metadata {
    resource("Service", &service.name.namespace, &service.name.name, port)
}

fn default(name: &str) -> Metadata {
    Metadata { kind: Some(metadata::Kind::Default(name.into())) }
}
