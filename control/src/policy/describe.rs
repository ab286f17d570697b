//! Describes the policy of a port as Linkerd's API does.

use std::time::Duration;

use weft_api::linkerd::inbound::{
    ProxyProtocol, Server,
    proxy_protocol::{Detect, Grpc, Http1, Http2, Kind, Opaque, Tls},
};

use super::{
    authz::{authorization, labels, of_policy},
    routes,
};
use crate::{
    index::{POLICY_GROUP, Pod, PortPolicy},
    mesh::Mesh,
    settings::Protocol,
};

/// Linkerd's default for the detection of protocols.
const DETECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn server(pod: &Pod, port: u16, mesh: &Mesh) -> Server {
    let declared = pod.config.port_policies.iter().find(|policy| policy.port == port);
    let policy = declared.map_or(pod.config.default_policy, |policy| policy.policy);
    let of_resources = declared.into_iter().flat_map(|policy| policy.authorizations.iter());
    let authorizations =
        of_resources.map(|found| authorization(found, mesh)).chain(of_policy(policy, mesh)).collect();
    Server {
        protocol: Some(ProxyProtocol { kind: Some(protocol(pod, port, declared, mesh)) }),
        server_ips: pod.ips.iter().map(|ip| (*ip).into()).collect(),
        authorizations,
        labels: match declared.and_then(|policy| policy.server.as_deref()) {
            Some(server) => labels(POLICY_GROUP, "server", server),
            None => labels("", "default", &policy.to_string()),
        },
    }
}

fn protocol(pod: &Pod, port: u16, declared: Option<&PortPolicy>, mesh: &Mesh) -> Kind {
    let http_routes = || routes::http(pod, port, mesh);
    match declared.map(|policy| policy.protocol).unwrap_or_default() {
        // A Server that declares nothing overrides the annotation; the settings of the pod take that into account.
        Protocol::Unknown if pod.config.opaque_ports.contains(port) => Kind::Opaque(Opaque {}),
        Protocol::Unknown => Kind::Detect(Detect {
            timeout: DETECT_TIMEOUT.try_into().ok(),
            http_routes: http_routes(),
            http_local_rate_limit: None,
        }),
        Protocol::Opaque => Kind::Opaque(Opaque {}),
        Protocol::Http1 => Kind::Http1(Http1 { routes: http_routes(), local_rate_limit: None }),
        Protocol::Http2 => Kind::Http2(Http2 { routes: http_routes(), local_rate_limit: None }),
        Protocol::Grpc => Kind::Grpc(Grpc { routes: routes::grpc(pod, port, mesh) }),
        Protocol::Tls => Kind::Tls(Tls {}),
    }
}
