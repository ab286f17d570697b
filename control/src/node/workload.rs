//! Describes a pod to the proxy that serves it.

use std::time::Duration;

use weft_api::node::{
    self, AccessLog, Authenticated, FailMode, Identities, InboundPolicy, PortRange, Protocol,
    Unauthenticated, Workload, WorkloadRef, authorization::Client,
};

use crate::{
    index::{self, Authorization, ClientIdentity, Clients, Network, POLICY_GROUP, Pod, Probe},
    mesh::Mesh,
    settings::{self, IdentityMatch, Policy, PortSet},
};

pub(super) fn workload(pod: &Pod, mesh: &Mesh) -> Workload {
    let config = &pod.config;
    let port_policy = |policy: &index::PortPolicy| node::PortPolicy {
        port: policy.port.into(),
        policy: inbound_policy(policy.policy).into(),
        server: policy.server.clone().unwrap_or_default(),
        protocol: protocol(policy.protocol).into(),
        authorizations: policy.authorizations.iter().map(|found| authorization(found, mesh)).collect(),
    };
    Workload {
        r#ref: Some(WorkloadRef {
            namespace: pod.name.namespace.clone(),
            name: pod.name.name.clone(),
            uid: pod.uid.clone(),
        }),
        identity: mesh.identity(&pod.service_account, &pod.name.namespace),
        ips: pod.ips.iter().map(ToString::to_string).collect(),
        netns: config.netns.clone().unwrap_or_default(),
        host_network: pod.host_network,
        labels: pod.metric_labels.clone().into_iter().collect(),
        fail_mode: fail_mode(config.fail_mode).into(),
        default_inbound_policy: inbound_policy(config.default_policy).into(),
        port_policies: config.port_policies.iter().map(port_policy).collect(),
        skip_inbound_ports: ranges(&config.skip_inbound_ports),
        skip_outbound_ports: ranges(&config.skip_outbound_ports),
        opaque_ports: ranges(&config.opaque_ports),
        skip_subnets: config.skip_subnets.iter().map(ToString::to_string).collect(),
        outbound_connect_timeout_ms: milliseconds(config.outbound_connect_timeout),
        inbound_connect_timeout_ms: milliseconds(config.inbound_connect_timeout),
        direct_pass_disabled: !config.direct_pass,
        splice_ports: ranges(&config.splice_ports),
        access_log: access_log(config.access_log).into(),
        inbound_detect_timeout_disabled: config.inbound_detect_timeout_disabled,
        outbound_detect_timeout_disabled: config.outbound_detect_timeout_disabled,
        probes: pod.probes.iter().map(probe).collect(),
        keep_earlier_connections: config.keep_earlier_connections,
        tap_disabled: config.tap_disabled,
        runtime_class: pod.runtime_class.clone().unwrap_or_default(),
    }
}

fn authorization(found: &Authorization, mesh: &Mesh) -> node::Authorization {
    let client = match &found.clients {
        Clients::Unauthenticated => Client::Unauthenticated(Unauthenticated {}),
        Clients::Authenticated => Client::Authenticated(Authenticated {}),
        Clients::Identities(found) => Client::Identities(identities(found, mesh)),
    };
    node::Authorization {
        group: POLICY_GROUP.to_owned(),
        kind: found.kind.to_string().to_lowercase(),
        name: found.name.clone(),
        networks: found.networks.resolve(mesh).iter().map(network).collect(),
        client: Some(client),
    }
}

fn identities(found: &[ClientIdentity], mesh: &Mesh) -> Identities {
    let mut identities = Identities::default();
    for identity in found {
        match identity.resolve(mesh) {
            IdentityMatch::Exact(name) => identities.names.push(name),
            IdentityMatch::Suffix(suffix) => identities.suffixes.push(suffix),
        }
    }
    identities
}

fn network(network: &Network) -> node::Network {
    node::Network {
        cidr: network.cidr.to_string(),
        except: network.except.iter().map(ToString::to_string).collect(),
    }
}

fn probe(probe: &Probe) -> node::Probe {
    node::Probe { port: probe.port.into(), path: probe.path.clone().unwrap_or_default(), tls: probe.tls }
}

fn inbound_policy(policy: Policy) -> InboundPolicy {
    match policy {
        Policy::AllUnauthenticated => InboundPolicy::AllUnauthenticated,
        Policy::AllAuthenticated => InboundPolicy::AllAuthenticated,
        Policy::ClusterUnauthenticated => InboundPolicy::ClusterUnauthenticated,
        Policy::ClusterAuthenticated => InboundPolicy::ClusterAuthenticated,
        Policy::Deny => InboundPolicy::Deny,
        Policy::Audit => InboundPolicy::Audit,
    }
}

fn protocol(protocol: settings::Protocol) -> Protocol {
    match protocol {
        settings::Protocol::Unknown => Protocol::Unspecified,
        settings::Protocol::Opaque => Protocol::Opaque,
        settings::Protocol::Http1 => Protocol::Http1,
        settings::Protocol::Http2 => Protocol::Http2,
        settings::Protocol::Grpc => Protocol::Grpc,
        settings::Protocol::Tls => Protocol::Tls,
    }
}

fn access_log(format: settings::AccessLog) -> AccessLog {
    match format {
        settings::AccessLog::Off => AccessLog::Unspecified,
        settings::AccessLog::Apache => AccessLog::Apache,
        settings::AccessLog::Json => AccessLog::Json,
    }
}

fn fail_mode(mode: settings::FailMode) -> FailMode {
    match mode {
        settings::FailMode::Open => FailMode::Open,
        settings::FailMode::Closed => FailMode::Closed,
    }
}

pub(super) fn ranges(ports: &PortSet) -> Vec<PortRange> {
    let range = |range: &settings::PortRange| PortRange { start: range.start.into(), end: range.end.into() };
    ports.ranges().iter().map(range).collect()
}

fn milliseconds(timeout: Option<Duration>) -> u32 {
    timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX))
}
