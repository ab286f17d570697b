//! Translates the control plane's message about a workload.

use std::{net::IpAddr, str::FromStr, time::Duration};

use weft_api::node as api;
use weft_common::PortRange;

use super::{Mistake, Spec, SpecError, policies};
use crate::{
    capture::KernelConfig,
    tls::Identity,
    workload::{AccessLogFormat, Key, WorkloadConfig},
};

/// Linkerd's proxy's own defaults.
const OUTBOUND_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
pub(super) const INBOUND_CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

impl TryFrom<api::Workload> for Spec {
    type Error = SpecError;

    fn try_from(mut workload: api::Workload) -> Result<Self, SpecError> {
        let reference = workload.r#ref.take().unwrap_or_default();
        let key = Key { namespace: reference.namespace, name: reference.name };
        let named = key.to_string();
        spec(key, reference.uid, workload).map_err(|mistake| SpecError { workload: named, mistake })
    }
}

fn spec(key: Key, uid: String, workload: api::Workload) -> Result<Spec, Mistake> {
    if key.namespace.is_empty() || key.name.is_empty() {
        return Err(Mistake::new("ref", &key, "a pod has a namespace and a name"));
    }
    let identity = workload
        .identity
        .parse::<Identity>()
        .map_err(|error| Mistake::new("identity", &workload.identity, error.to_string()))?;
    Ok(Spec {
        kernel: kernel_config(&workload)?,
        config: workload_config(&workload)?,
        key,
        uid,
        identity,
        netns: workload.netns,
        host_network: workload.host_network,
        runtime_class: workload.runtime_class,
        keeps_earlier_connections: workload.keep_earlier_connections,
        labels: workload.labels.into_iter().collect(),
    })
}

fn kernel_config(workload: &api::Workload) -> Result<KernelConfig, Mistake> {
    Ok(KernelConfig {
        ips: parse_all::<IpAddr>("ips", &workload.ips, "not an IP address")?,
        skip_subnets: parse_all("skip_subnets", &workload.skip_subnets, "not a CIDR")?,
        fail_open: fails_open(workload),
        skip_outbound: port_ranges("skip_outbound_ports", &workload.skip_outbound_ports)?,
        skip_inbound: port_ranges("skip_inbound_ports", &workload.skip_inbound_ports)?,
        splice: port_ranges("splice_ports", &workload.splice_ports)?,
    })
}

fn workload_config(workload: &api::Workload) -> Result<WorkloadConfig, Mistake> {
    let timeout = |ms: u32, default| if ms == 0 { default } else { Duration::from_millis(ms.into()) };
    Ok(WorkloadConfig {
        policies: policies::of(workload)?,
        fail_open: fails_open(workload),
        direct_pass: !workload.direct_pass_disabled,
        outbound_connect_timeout: timeout(workload.outbound_connect_timeout_ms, OUTBOUND_CONNECT_TIMEOUT),
        inbound_connect_timeout: timeout(workload.inbound_connect_timeout_ms, INBOUND_CONNECT_TIMEOUT),
        skip_inbound: port_ranges("skip_inbound_ports", &workload.skip_inbound_ports)?,
        splice: port_ranges("splice_ports", &workload.splice_ports)?,
        opaque_ports: port_ranges("opaque_ports", &workload.opaque_ports)?,
        inbound_detect_timeout_disabled: workload.inbound_detect_timeout_disabled,
        outbound_detect_timeout_disabled: workload.outbound_detect_timeout_disabled,
        access_log: access_log(workload.access_log)?,
        tap_disabled: workload.tap_disabled,
    })
}

fn fails_open(workload: &api::Workload) -> bool {
    workload.fail_mode() == api::FailMode::Open
}

fn parse_all<T: FromStr>(field: &'static str, texts: &[String], reason: &str) -> Result<Vec<T>, Mistake> {
    texts.iter().map(|text| text.parse().map_err(|_| Mistake::new(field, text, reason))).collect()
}

fn port_ranges(field: &'static str, list: &[api::PortRange]) -> Result<Vec<PortRange>, Mistake> {
    let range = |range: &api::PortRange| match (u16::try_from(range.start), u16::try_from(range.end)) {
        (Ok(start), Ok(end)) if 0 < start && start <= end => Ok(PortRange { start, end }),
        _ => Err(Mistake::new(field, range, "not a range of ports")),
    };
    list.iter().map(range).collect()
}

fn access_log(number: i32) -> Result<Option<AccessLogFormat>, Mistake> {
    match api::AccessLog::try_from(number) {
        Ok(api::AccessLog::Unspecified) => Ok(None),
        Ok(api::AccessLog::Apache) => Ok(Some(AccessLogFormat::Apache)),
        Ok(api::AccessLog::Json) => Ok(Some(AccessLogFormat::Json)),
        Err(_) => Err(Mistake::new("access_log", &number, "no such format")),
    }
}
