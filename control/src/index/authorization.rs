//! Who may connect to a Server: what ServerAuthorizations and AuthorizationPolicies say.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{selector, store::Store};
use crate::{
    mesh::Mesh,
    model::{
        self, AuthorizationPolicy, Key, Kind, Name, Object, ObjectRef, Server, ServerAuthorization,
        ServerSelector,
    },
    settings::{IdentityMatch, parse_network},
};

/// The API group of Linkerd's policy kinds.
pub(crate) const POLICY_GROUP: &str = "policy.linkerd.io";

/// Admits clients to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// `ServerAuthorization` or `AuthorizationPolicy`.
    pub kind: Kind,
    pub name: String,
    pub networks: Networks,
    pub clients: Clients,
}

/// The addresses of admitted clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Networks {
    All,
    /// The cluster's networks.
    Cluster,
    Listed(Vec<Network>),
}

/// A network without some parts of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub cidr: IpNet,
    pub except: Vec<IpNet>,
}

/// The identities of admitted clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Clients need no identity.
    Unauthenticated,
    /// Any identity of the mesh.
    Authenticated,
    /// One of these, of which there is at least one.
    Identities(Vec<ClientIdentity>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientIdentity {
    Matching(IdentityMatch),
    ServiceAccount(Name),
    /// Every service account of the namespace.
    Namespace(String),
}

impl Networks {
    pub(crate) fn resolve(&self, mesh: &Mesh) -> Vec<Network> {
        let whole = |cidr: &IpNet| Network { cidr: *cidr, except: Vec::new() };
        match self {
            Self::All => {
                [IpNet::from(Ipv4Net::default()), Ipv6Net::default().into()].iter().map(whole).collect()
            }
            Self::Cluster => mesh.cluster_networks.iter().map(whole).collect(),
            Self::Listed(networks) => networks.clone(),
        }
    }
}

impl ClientIdentity {
    pub(crate) fn resolve(&self, mesh: &Mesh) -> IdentityMatch {
        match self {
            Self::Matching(wanted) => wanted.clone(),
            Self::ServiceAccount(account) => {
                IdentityMatch::Exact(mesh.identity(&account.name, &account.namespace))
            }
            Self::Namespace(namespace) => IdentityMatch::Suffix(mesh.identities_of(namespace)),
        }
    }
}

/// The authorizations of a Server, in the order of their names. What refers to something that does not exist, or cannot
/// be read, admits nobody and is left out.
pub(super) fn of_server(server: (&Key, &Server), store: &Store) -> Vec<Authorization> {
    let namespace = server.0.namespace.as_str();
    let mut found = Vec::new();
    for (key, object) in store.in_namespace(Kind::ServerAuthorization, namespace) {
        if let Object::ServerAuthorization(authorization) = object
            && selects(&authorization.spec.server, server)
        {
            found.extend(server_authorization(key, authorization));
        }
    }
    for (key, object) in store.in_namespace(Kind::AuthorizationPolicy, namespace) {
        if let Object::AuthorizationPolicy(policy) = object
            && targets(&policy.spec.target_ref, server.0)
        {
            found.extend(authorization_policy(key, policy, store));
        }
    }
    found
}

/// The authentications that an AuthorizationPolicy refers to.
pub(super) fn references(key: &Key, policy: &AuthorizationPolicy) -> impl Iterator<Item = Key> {
    policy.spec.required_authentication_refs.iter().flatten().filter_map(|reference| {
        let kind = [Kind::MeshTLSAuthentication, Kind::NetworkAuthentication]
            .into_iter()
            .find(|kind| reference.is(POLICY_GROUP, &kind.to_string()))?;
        Some(referred(kind, reference, &key.namespace))
    })
}

fn selects(wanted: &ServerSelector, (key, server): (&Key, &Server)) -> bool {
    match (&wanted.name, &wanted.selector) {
        (Some(name), _) => *name == key.name,
        (None, Some(wanted)) => {
            let none = Default::default();
            selector::matches(wanted, server.metadata.labels.as_ref().unwrap_or(&none))
        }
        (None, None) => false,
    }
}

fn targets(target: &ObjectRef, server: &Key) -> bool {
    let in_namespace = target.namespace.as_ref().is_none_or(|namespace| *namespace == server.namespace);
    (target.is(POLICY_GROUP, "Server") && target.name == server.name && in_namespace)
        || (target.is("", "Namespace") && target.name == server.namespace)
}

fn server_authorization(key: &Key, authorization: &ServerAuthorization) -> Option<Authorization> {
    let client = &authorization.spec.client;
    let networks = match client.networks.as_deref() {
        None | Some([]) => Networks::Cluster,
        Some(listed) => Networks::Listed(networks(listed)?),
    };
    let clients = match &client.mesh_tls {
        _ if client.unauthenticated => Clients::Unauthenticated,
        Some(mesh_tls) if mesh_tls.unauthenticated_tls => Clients::Authenticated,
        Some(mesh_tls) => {
            let accounts = mesh_tls.service_accounts.iter().flatten().map(|account| {
                let namespace = account.namespace.clone().unwrap_or_else(|| key.namespace.clone());
                ClientIdentity::ServiceAccount(Name { namespace, name: account.name.clone() })
            });
            identities(mesh_tls.identities.as_deref().unwrap_or_default(), accounts)?
        }
        None => return None,
    };
    Some(Authorization { kind: key.kind, name: key.name.clone(), networks, clients })
}

fn authorization_policy(key: &Key, policy: &AuthorizationPolicy, store: &Store) -> Option<Authorization> {
    let (mut of_clients, mut of_networks) = (None, None);
    // Without the field, the policy is incomplete; an empty list asks nothing of clients.
    for reference in policy.spec.required_authentication_refs.as_ref()? {
        let namespace = reference.namespace.as_ref().unwrap_or(&key.namespace);
        // Every reference must hold. Two of a kind can rarely hold together, and the webhook refuses them.
        if reference.is(POLICY_GROUP, "NetworkAuthentication") {
            let key = referred(Kind::NetworkAuthentication, reference, namespace);
            let Some(Object::NetworkAuthentication(found)) = store.get(&key) else { return None };
            let listed = Networks::Listed(networks(&found.spec.networks)?);
            if of_networks.replace(listed).is_some() {
                return None;
            }
            continue;
        }
        let clients = if reference.is(POLICY_GROUP, "MeshTLSAuthentication") {
            let key = referred(Kind::MeshTLSAuthentication, reference, namespace);
            let Some(Object::MeshTLSAuthentication(found)) = store.get(&key) else { return None };
            let refs = found.spec.identity_refs.iter().flatten();
            let named = refs.filter_map(|reference| identity_of(reference, &key.namespace));
            identities(found.spec.identities.as_deref().unwrap_or_default(), named)?
        } else if reference.is("", "ServiceAccount") {
            Clients::Identities(vec![identity_of(reference, namespace)?])
        } else {
            return None;
        };
        if of_clients.replace(clients).is_some() {
            return None;
        }
    }
    Some(Authorization {
        kind: key.kind,
        name: key.name.clone(),
        networks: of_networks.unwrap_or(Networks::All),
        clients: of_clients.unwrap_or(Clients::Unauthenticated),
    })
}

fn identity_of(reference: &ObjectRef, namespace: &str) -> Option<ClientIdentity> {
    if reference.is("", "Namespace") {
        return Some(ClientIdentity::Namespace(reference.name.clone()));
    }
    let namespace = reference.namespace.clone().unwrap_or_else(|| namespace.to_owned());
    let name = Name { namespace, name: reference.name.clone() };
    reference.is("", "ServiceAccount").then_some(ClientIdentity::ServiceAccount(name))
}

/// `None` if nobody is named.
fn identities(texts: &[String], named: impl Iterator<Item = ClientIdentity>) -> Option<Clients> {
    let matches = texts.iter().filter_map(|text| IdentityMatch::parse(text)).map(ClientIdentity::Matching);
    let all: Vec<_> = matches.chain(named).collect();
    let every = ClientIdentity::Matching(IdentityMatch::Suffix(String::new()));
    match all.is_empty() {
        true => None,
        false if all.contains(&every) => Some(Clients::Authenticated),
        false => Some(Clients::Identities(all)),
    }
}

/// `None` if one cannot be read: an exception that is not understood must not admit more.
fn networks(listed: &[model::Network]) -> Option<Vec<Network>> {
    let read = |network: &model::Network| {
        let except =
            network.except.iter().flatten().map(|part| parse_network(part)).collect::<Option<_>>()?;
        Some(Network { cidr: parse_network(&network.cidr)?, except })
    };
    listed.iter().map(read).collect()
}

fn referred(kind: Kind, reference: &ObjectRef, namespace: &str) -> Key {
    let namespace = reference.namespace.as_deref().unwrap_or(namespace);
    Key::new(kind, Some(namespace), &reference.name)
}
