//! What the control plane says about a workload, checked.

mod policies;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;
use tracing::info;
use weft_api::node as api;
use weft_common::PortRange;

use crate::{
    capture,
    tls::Identity,
    workload::{AccessLogFormat, Key, WorkloadConfig},
};

/// Linkerd's proxy's own defaults.
const OUTBOUND_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const INBOUND_CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// A workload as it should be served.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) identity: Identity,
    pub(super) netns: String,
    pub(super) host_network: bool,
    pub(super) runtime_class: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) config: WorkloadConfig,
    pub(super) kernel: capture::KernelConfig,
    /// Connections that are older than its enrollment stay open.
    pub(super) keeps_earlier_connections: bool,
}

/// A message that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("workload {workload}: {field} {value} is not valid: {reason}; is weft-control of another version?")]
pub(super) struct SpecError {
    workload: String,
    field: &'static str,
    value: String,
    reason: String,
}

impl Spec {
    /// Whether `other` is the same pod at the same addresses, so that it need not be enrolled anew.
    pub(super) fn same_pod(&self, other: &Spec) -> bool {
        self.uid == other.uid
            && self.netns == other.netns
            && self.kernel.ips == other.kernel.ips
            && self.identity == other.identity
            && self.host_network == other.host_network
    }

    /// Whether both are served in the same network namespace; `by_name`: pods of one name have one namespace.
    pub(super) fn same_netns(&self, other: &Spec, by_name: bool) -> bool {
        let told = by_name || !self.netns.is_empty();
        self.netns == other.netns && !self.host_network && (told || self.uid == other.uid)
    }

    /// The same pod, with these addresses if the control plane does not know any yet.
    pub(super) fn or_addresses(mut self, ips: &[IpAddr]) -> Self {
        if self.kernel.ips.is_empty() {
            self.kernel.ips = ips.to_vec();
        }
        self
    }

    /// Whether no other pod can reach the packets that go directly.
    pub(super) fn has_isolated_links(&self, netns: &capture::Netns, node: &capture::Netns) -> bool {
        let kernel_updated = netns.has_links_of_its_own(node, &self.kernel.ips);
        if let Err(reason) = &kernel_updated {
            info!(workload = %self.key, %reason, "other pods may share the pod's link: its connections go directly only with --direct-pass on");
        }
        kernel_updated.is_ok()
    }
}

impl TryFrom<api::Workload> for Spec {
    type Error = SpecError;

    fn try_from(mut workload: api::Workload) -> Result<Self, SpecError> {
        let reference = workload.r#ref.take().unwrap_or_default();
        let key = Key { namespace: reference.namespace, name: reference.name };
        let error = |field, value: &dyn std::fmt::Debug, reason: &str| SpecError {
            workload: key.to_string(),
            field,
            value: shown(value),
            reason: reason.to_owned(),
        };
        if key.namespace.is_empty() || key.name.is_empty() {
            return Err(error("ref", &key, "a pod has a namespace and a name"));
        }
        let identity = workload
            .identity
            .parse::<Identity>()
            .map_err(|reason| error("identity", &workload.identity, &reason.to_string()))?;
        let ips = workload
            .ips
            .iter()
            .map(|ip| ip.parse().map_err(|_| error("ips", ip, "not an IP address")))
            .collect::<Result<Vec<IpAddr>, _>>()?;
        let skip_subnets = workload
            .skip_subnets
            .iter()
            .map(|net| net.parse().map_err(|_| error("skip_subnets", net, "not a CIDR")))
            .collect::<Result<Vec<IpNet>, _>>()?;
        let ranges = |field, list: &[api::PortRange]| {
            list.iter()
                .map(|range| match (u16::try_from(range.start), u16::try_from(range.end)) {
                    (Ok(start), Ok(end)) if 0 < start && start <= end => Ok(PortRange { start, end }),
                    _ => Err(error(field, range, "not a range of ports")),
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let policies = policies::of(&workload)
            .map_err(|mistake| error(mistake.field, &mistake.value, mistake.reason))?;
        let access_log = access_log(workload.access_log)
            .ok_or_else(|| error("access_log", &workload.access_log, "no such format"))?;
        let fail_open = workload.fail_mode() == api::FailMode::Open;
        let splice = ranges("splice_ports", &workload.splice_ports)?;
        let skip_inbound = ranges("skip_inbound_ports", &workload.skip_inbound_ports)?;
        let timeout = |ms: u32, default| if ms == 0 { default } else { Duration::from_millis(ms.into()) };
        Ok(Spec {
            config: WorkloadConfig {
                policies,
                fail_open,
                direct_pass: !workload.direct_pass_disabled,
                outbound_connect_timeout: timeout(
                    workload.outbound_connect_timeout_ms,
                    OUTBOUND_CONNECT_TIMEOUT,
                ),
                inbound_connect_timeout: timeout(
                    workload.inbound_connect_timeout_ms,
                    INBOUND_CONNECT_TIMEOUT,
                ),
                skip_inbound: skip_inbound.clone(),
                splice: splice.clone(),
                opaque_ports: ranges("opaque_ports", &workload.opaque_ports)?,
                inbound_detect_timeout_disabled: workload.inbound_detect_timeout_disabled,
                outbound_detect_timeout_disabled: workload.outbound_detect_timeout_disabled,
                access_log,
                tap_disabled: workload.tap_disabled,
            },
            kernel: capture::KernelConfig {
                ips,
                fail_open,
                skip_outbound: ranges("skip_outbound_ports", &workload.skip_outbound_ports)?,
                skip_inbound,
                skip_subnets,
                splice,
            },
            uid: reference.uid,
            identity,
            netns: workload.netns,
            host_network: workload.host_network,
            runtime_class: workload.runtime_class,
            keeps_earlier_connections: workload.keep_earlier_connections,
            labels: workload.labels.into_iter().collect(),
            key,
        })
    }
}

/// The value for a log line: no longer than one should be.
fn shown(value: &dyn std::fmt::Debug) -> String {
    const LONGEST: usize = 500;
    let mut text = format!("{value:?}");
    if text.len() > LONGEST {
        text = text.chars().take(LONGEST).chain(['…']).collect();
    }
    text
}

/// `None` if there is no such format.
fn access_log(number: i32) -> Option<Option<AccessLogFormat>> {
    Some(match api::AccessLog::try_from(number).ok()? {
        api::AccessLog::Unspecified => None,
        api::AccessLog::Apache => Some(AccessLogFormat::Apache),
        api::AccessLog::Json => Some(AccessLogFormat::Json),
    })
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
