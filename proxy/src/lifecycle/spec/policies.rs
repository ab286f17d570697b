//! Converts the inbound policies, authorizations and health checks of a workload, and says what is wrong with them.

use std::sync::Arc;

use ipnet::IpNet;
use weft_api::node::{self as api, authorization::Client};

use super::Mistake;
use crate::{
    metrics::AuthorizationLabels,
    policy::{
        ClientAuthorization, Clients, DeclaredProtocol, Identities, InboundPolicy, Network, Policies,
        PortSettings, Probe,
    },
};

/// The policies of all ports of a workload.
///
/// # Errors
/// The first value that is not valid.
pub(super) fn of(workload: &api::Workload) -> Result<Policies, Mistake> {
    let default = policy("default_inbound_policy", workload.default_inbound_policy)?;
    let ports = workload.port_policies.iter().map(port).collect::<Result<Vec<_>, _>>()?;
    let probes = workload.probes.iter().map(probe).collect::<Result<Vec<_>, _>>()?;
    Ok(Policies::new(default, ports, probes.into_iter().flatten()))
}

fn port(port: &api::PortPolicy) -> Result<(u16, PortSettings), Mistake> {
    let field = "port_policies";
    let number = port_number(port.port).ok_or_else(|| Mistake::new(field, port, "not a port"))?;
    let protocol =
        declared_protocol(port.protocol).ok_or_else(|| Mistake::new(field, port, "no such protocol"))?;
    let settings = PortSettings {
        policy: policy("port_policies.policy", port.policy)?,
        server: port.server.clone(),
        protocol,
        authorizations: port.authorizations.iter().map(authorization).collect::<Result<_, _>>()?,
    };
    Ok((number, settings))
}

fn authorization(authorization: &api::Authorization) -> Result<ClientAuthorization, Mistake> {
    let field = "port_policies.authorizations";
    if authorization.kind.is_empty() || authorization.name.is_empty() {
        return Err(Mistake::new(field, authorization, "an authorization has a kind and a name"));
    }
    let clients = match &authorization.client {
        Some(Client::Unauthenticated(_)) => Clients::Unauthenticated,
        Some(Client::Authenticated(_)) => Clients::Authenticated,
        Some(Client::Identities(identities)) => Clients::Identities(named(identities)?),
        None => return Err(Mistake::new(field, authorization, "it does not say which clients it lets in")),
    };
    Ok(ClientAuthorization {
        labels: Arc::new(AuthorizationLabels {
            group: authorization.group.clone(),
            kind: authorization.kind.clone(),
            name: authorization.name.clone(),
        }),
        networks: authorization.networks.iter().map(network).collect::<Result<_, _>>()?,
        clients,
    })
}

fn named(identities: &api::Identities) -> Result<Identities, Mistake> {
    if let Some(name) = identities.names.iter().find(|name| name.is_empty()) {
        let field = "port_policies.authorizations.identities.names";
        return Err(Mistake::new(field, name, "an identity is not empty"));
    }
    // Without the dot, other names would have the same end; the dot alone is the end of none.
    let is_suffix = |suffix: &str| suffix.len() > 1 && suffix.starts_with('.');
    if let Some(suffix) = identities.suffixes.iter().find(|suffix| !is_suffix(suffix)) {
        let field = "port_policies.authorizations.identities.suffixes";
        return Err(Mistake::new(field, suffix, "the end of an identity begins with a dot"));
    }
    Ok(Identities::new(identities.names.iter().cloned(), identities.suffixes.iter().cloned()))
}

fn network(network: &api::Network) -> Result<Network, Mistake> {
    let cidr =
        |field, text: &String| text.parse::<IpNet>().map_err(|_| Mistake::new(field, text, "not a CIDR"));
    let except =
        network.except.iter().map(|except| cidr("port_policies.authorizations.networks.except", except));
    Ok(Network {
        net: cidr("port_policies.authorizations.networks.cidr", &network.cidr)?,
        except: except.collect::<Result<_, _>>()?,
    })
}

/// `None`: a check of the TCP port, which sends nothing that could be authorized.
fn probe(probe: &api::Probe) -> Result<Option<Probe>, Mistake> {
    let port = port_number(probe.port).ok_or_else(|| Mistake::new("probes", probe, "not a port"))?;
    let is_request = !probe.path.is_empty();
    Ok(is_request.then(|| Probe { port, path: probe.path.clone(), tls: probe.tls }))
}

fn port_number(number: u32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

fn policy(field: &'static str, number: i32) -> Result<InboundPolicy, Mistake> {
    let policy = match api::InboundPolicy::try_from(number) {
        Err(_) | Ok(api::InboundPolicy::Unspecified) => {
            return Err(Mistake::new(field, &number, "no such policy"));
        }
        Ok(api::InboundPolicy::AllUnauthenticated) => InboundPolicy::AllUnauthenticated,
        Ok(api::InboundPolicy::AllAuthenticated) => InboundPolicy::AllAuthenticated,
        Ok(api::InboundPolicy::ClusterUnauthenticated) => InboundPolicy::ClusterUnauthenticated,
        Ok(api::InboundPolicy::ClusterAuthenticated) => InboundPolicy::ClusterAuthenticated,
        Ok(api::InboundPolicy::Deny) => InboundPolicy::Deny,
        Ok(api::InboundPolicy::Audit) => InboundPolicy::Audit,
    };
    Ok(policy)
}

fn declared_protocol(number: i32) -> Option<DeclaredProtocol> {
    Some(match api::Protocol::try_from(number).ok()? {
        api::Protocol::Unspecified => DeclaredProtocol::Detect,
        api::Protocol::Opaque => DeclaredProtocol::Opaque,
        api::Protocol::Http1 => DeclaredProtocol::Http1,
        api::Protocol::Http2 => DeclaredProtocol::Http2,
        api::Protocol::Grpc => DeclaredProtocol::Grpc,
        api::Protocol::Tls => DeclaredProtocol::Tls,
    })
}
