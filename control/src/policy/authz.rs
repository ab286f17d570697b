//! Describes who is let in as Linkerd's API does.

use std::collections::HashMap;

use weft_api::linkerd::{
    inbound::{
        Authn, Authz, Identity, IdentitySuffix, Network,
        authn::{
            Permit, PermitMeshTls, PermitUnauthenticated,
            permit_mesh_tls::{Clients as MeshTlsClients, PermitClientIdentities},
        },
    },
    meta::{Metadata, Resource, metadata},
};

use crate::{
    index::{self, Authorization, Clients, Networks, POLICY_GROUP},
    mesh::Mesh,
    settings::{IdentityMatch, Policy},
};

/// What a policy by itself admits: nothing if it is `deny`.
pub(super) fn of_policy(policy: Policy, mesh: &Mesh) -> Option<Authz> {
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

pub(super) fn authorization(found: &Authorization, mesh: &Mesh) -> Authz {
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

pub(super) fn labels(group: &str, kind: &str, name: &str) -> HashMap<String, String> {
    let labels = [("group", group), ("kind", kind), ("name", name)];
    labels.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned())).collect()
}
