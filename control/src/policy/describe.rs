//! Describes the policy of a port as Linkerd's API does.

use std::{collections::HashMap, time::Duration};

use weft_api::linkerd::{
    inbound::{
        Authn, Authz, Identity, IdentitySuffix, Network, ProxyProtocol, Server,
        authn::{
            Permit, PermitMeshTls, PermitUnauthenticated,
            permit_mesh_tls::{Clients as MeshTlsClients, PermitClientIdentities},
        },
        proxy_protocol::{Detect, Grpc, Http1, Http2, Kind, Opaque, Tls},
    },
    meta::{Metadata, Resource, metadata},
};

use super::routes;
use crate::{
    index::{self, Authorization, Clients, Networks, POLICY_GROUP, Pod, PortPolicy},
    mesh::Mesh,
    settings::{IdentityMatch, Policy, Protocol},
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

/// What a policy by itself admits: nothing if it is `deny`.
fn of_policy(policy: Policy, mesh: &Mesh) -> Option<Authz> {
    let (networks, is_authenticated) = match policy {
        Policy::Deny => return None,
        Policy::AllUnauthenticated | Policy::Audit => (Networks::All, false),
        Policy::AllAuthenticated => (Networks::All, true),
        Policy::ClusterUnauthenticated => (Networks::Cluster, false),
        Policy::ClusterAuthenticated => (Networks::Cluster, true),
    };
    let permit = match is_authenticated {
        true => mesh_tls(any_identity()),
        false => Permit::Unauthenticated(PermitUnauthenticated {}),
    };
    let name = policy.to_string();
    Some(Authz {
        networks: networks.resolve(mesh).iter().map(network).collect(),
        authentication: Some(Authn { permit: Some(permit) }),
        labels: labels("", "default", &name),
        metadata: Some(Metadata { kind: Some(metadata::Kind::Default(name)) }),
    })
}

/// Lets the kubelet make a health check, wherever it is.
pub(super) fn probe(mesh: &Mesh) -> Authz {
    Authz {
        networks: Networks::All.resolve(mesh).iter().map(network).collect(),
        authentication: Some(Authn { permit: Some(Permit::Unauthenticated(PermitUnauthenticated {})) }),
        labels: labels("", "default", "probe"),
        metadata: Some(Metadata { kind: Some(metadata::Kind::Default("probe".into())) }),
    }
}

fn authorization(found: &Authorization, mesh: &Mesh) -> Authz {
    let permit = match &found.clients {
        Clients::Unauthenticated => Permit::Unauthenticated(PermitUnauthenticated {}),
        Clients::Authenticated => mesh_tls(MeshTlsClients::Unauthenticated(PermitUnauthenticated {})),
        Clients::Identities(identities) => {
            let mut permitted = PermitClientIdentities::default();
            for identity in identities {
                match identity.resolve(mesh) {
                    IdentityMatch::Exact(name) => permitted.identities.push(Identity { name }),
                    IdentityMatch::Suffix(suffix) => permitted.suffixes.push(self::suffix(&suffix)),
                }
            }
            mesh_tls(MeshTlsClients::Identities(permitted))
        }
    };
    let kind = found.kind.to_string().to_lowercase();
    Authz {
        networks: found.networks.resolve(mesh).iter().map(network).collect(),
        authentication: Some(Authn { permit: Some(permit) }),
        labels: labels(POLICY_GROUP, &kind, &found.name),
        metadata: Some(Metadata {
            kind: Some(metadata::Kind::Resource(Resource {
                group: POLICY_GROUP.into(),
                kind,
                name: found.name.clone(),
                ..Resource::default()
            })),
        }),
    }
}

fn any_identity() -> MeshTlsClients {
    MeshTlsClients::Identities(PermitClientIdentities {
        identities: Vec::new(),
        suffixes: vec![IdentitySuffix { parts: Vec::new() }],
    })
}

fn mesh_tls(clients: MeshTlsClients) -> Permit {
    Permit::MeshTls(PermitMeshTls { clients: Some(clients) })
}

fn suffix(text: &str) -> IdentitySuffix {
    let parts = text.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    IdentitySuffix { parts }
}

fn network(network: &index::Network) -> Network {
    Network {
        net: Some(network.cidr.into()),
        except: network.except.iter().map(|part| (*part).into()).collect(),
    }
}

fn labels(group: &str, kind: &str, name: &str) -> HashMap<String, String> {
    let labels = [("group", group), ("kind", kind), ("name", name)];
    labels.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned())).collect()
}
