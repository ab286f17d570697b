//! The settings of one pod: what its annotations, its namespace's and Linkerd's Servers say together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ipnet::IpNet;

use super::authorization::Authorization;
use crate::settings::{AccessLog, Annotations, FailMode, Policy, PortNames, PortRange, PortSet, Protocol};

/// Linkerd's default opaque ports: protocols in which the server speaks first, so that detection would only wait.
const DEFAULT_OPAQUE_PORTS: [u16; 8] = [25, 587, 3306, 4444, 5432, 6379, 9300, 11211];
/// Linkerd's default for `skip-inbound-ports` and `skip-outbound-ports`: replication traffic of database clusters.
const DEFAULT_SKIPPED_PORTS: [u16; 2] = [4567, 4568];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodConfig {
    pub default_policy: Policy,
    pub port_policies: Vec<PortPolicy>,
    pub opaque_ports: PortSet,
    pub skip_inbound_ports: PortSet,
    pub skip_outbound_ports: PortSet,
    pub skip_subnets: Vec<IpNet>,
    pub outbound_connect_timeout: Option<Duration>,
    pub inbound_connect_timeout: Option<Duration>,
    /// Detection waits for the first bytes without a limit.
    pub outbound_detect_timeout_disabled: bool,
    pub inbound_detect_timeout_disabled: bool,
    pub access_log: AccessLog,
    pub fail_mode: FailMode,
    pub direct_pass: bool,
    /// Connections that the pod has when it is enrolled stay open.
    pub keep_earlier_connections: bool,
    pub splice_ports: PortSet,
    /// Its requests are never shown.
    pub tap_disabled: bool,
    pub netns: Option<String>,
}

/// The policy and protocol of one port. The policy overrides the default policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPolicy {
    pub port: u16,
    pub policy: Policy,
    /// The Server that sets the policy; `None` if an annotation does.
    pub server: Option<String>,
    pub protocol: Protocol,
    /// They admit clients whatever the policy says.
    pub authorizations: Arc<[Authorization]>,
}

impl PodConfig {
    /// The settings that annotations make. The fail mode is not settled yet: it depends on Servers, too.
    pub(super) fn from_annotations(annotations: &Annotations, named_ports: &BTreeMap<String, u16>) -> Self {
        let require_identity = annotations.require_identity_ports.iter().flat_map(PortSet::ports);
        let authenticated = |port| PortPolicy {
            port,
            policy: Policy::AllAuthenticated,
            server: None,
            protocol: Protocol::Unknown,
            authorizations: Arc::default(),
        };
        Self {
            default_policy: annotations.default_inbound_policy.unwrap_or_default(),
            port_policies: require_identity.map(authenticated).collect(),
            opaque_ports: opaque_ports(annotations, |name| named_ports.get(name).copied()),
            skip_inbound_ports: skipped_ports(annotations.skip_inbound_ports.as_ref()),
            skip_outbound_ports: skipped_ports(annotations.skip_outbound_ports.as_ref()),
            skip_subnets: annotations.skip_subnets.clone().unwrap_or_default(),
            outbound_connect_timeout: annotations.outbound_connect_timeout,
            inbound_connect_timeout: annotations.inbound_connect_timeout,
            outbound_detect_timeout_disabled: annotations.disable_outbound_detect_timeout.unwrap_or_default(),
            inbound_detect_timeout_disabled: annotations.disable_inbound_detect_timeout.unwrap_or_default(),
            access_log: annotations.access_log.unwrap_or_default(),
            fail_mode: FailMode::Open,
            direct_pass: annotations.direct_pass.unwrap_or(true),
            keep_earlier_connections: annotations.keep_earlier_connections.unwrap_or_default(),
            splice_ports: annotations.splice_ports.clone().unwrap_or_default(),
            tap_disabled: annotations.disable_tap.unwrap_or_default(),
            netns: annotations.netns.clone(),
        }
    }

    /// The fail mode of a pod without an annotation: closed if plaintext past the proxy would break a policy.
    pub(super) fn default_fail_mode(&self) -> FailMode {
        let port_policies = self.port_policies.iter().map(|port_policy| port_policy.policy);
        let is_strict = port_policies.chain([self.default_policy]).any(Policy::needs_proxy);
        if is_strict { FailMode::Closed } else { FailMode::Open }
    }
}

/// The opaque ports that annotations name; `lookup` resolves the names of ports.
pub(super) fn opaque_ports(annotations: &Annotations, lookup: impl Fn(&str) -> Option<u16>) -> PortSet {
    match &annotations.opaque_ports {
        Some(ports) => PortNames::resolve(ports, lookup),
        None => DEFAULT_OPAQUE_PORTS.map(PortRange::one).into_iter().collect(),
    }
}

fn skipped_ports(ports: Option<&PortSet>) -> PortSet {
    ports.cloned().unwrap_or_else(|| DEFAULT_SKIPPED_PORTS.map(PortRange::one).into_iter().collect())
}
