//! Parses the annotations of an object.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;

use super::{
    duration::parse_duration,
    policy::Policy,
    ports::{PortNames, PortSet},
};

/// Where a pod's network namespace is, on a machine without Kubernetes.
pub const NETNS: &str = "config.weft.dev/netns";
/// The kernel programs keep this many ranges for each workload or address.
const MAX_SPLICE_RANGES: usize = 16;

/// The annotations that weft knows; `None` where the object does not have the annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    pub inject: Option<bool>,
    pub opaque_ports: Option<PortNames>,
    pub skip_inbound_ports: Option<PortSet>,
    pub skip_outbound_ports: Option<PortSet>,
    pub skip_subnets: Option<Vec<IpNet>>,
    pub default_inbound_policy: Option<Policy>,
    pub require_identity_ports: Option<PortSet>,
    pub outbound_connect_timeout: Option<Duration>,
    pub inbound_connect_timeout: Option<Duration>,
    pub disable_outbound_detect_timeout: Option<bool>,
    pub disable_inbound_detect_timeout: Option<bool>,
    pub access_log: Option<AccessLog>,
    pub fail_mode: Option<FailMode>,
    pub direct_pass: Option<bool>,
    pub keep_earlier_connections: Option<bool>,
    pub splice_ports: Option<PortSet>,
    pub disable_tap: Option<bool>,
    pub netns: Option<String>,
}

/// What happens to new connections while no proxy serves the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailMode {
    /// They go directly, in plaintext.
    Open,
    /// They are refused.
    Closed,
}

/// How the requests to a workload are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    #[default]
    Off,
    /// Lines in Apache's common log format.
    Apache,
    /// JSON objects.
    Json,
}

/// An annotation that has no valid value, or that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAnnotation {
    pub name: String,
    pub reason: String,
    pub advice: String,
}

impl Annotations {
    /// Reads the annotations that weft knows. One with a bad value is returned separately and does not count.
    pub fn parse(annotations: Option<&BTreeMap<String, String>>) -> (Self, Vec<BadAnnotation>) {
        let (mut read, mut bad) = (Self::default(), Vec::new());
        for (name, value) in annotations.into_iter().flatten() {
            if let Err((reason, advice)) = read.set(name, value.trim()) {
                bad.push(BadAnnotation { name: name.clone(), reason, advice });
            }
        }
        (read, bad)
    }

    /// These annotations, completed by those of `base` (the namespace).
    pub fn or(self, base: &Self) -> Self {
        Self {
            inject: self.inject.or(base.inject),
            opaque_ports: self.opaque_ports.or_else(|| base.opaque_ports.clone()),
            skip_inbound_ports: self.skip_inbound_ports.or_else(|| base.skip_inbound_ports.clone()),
            skip_outbound_ports: self.skip_outbound_ports.or_else(|| base.skip_outbound_ports.clone()),
            skip_subnets: self.skip_subnets.or_else(|| base.skip_subnets.clone()),
            default_inbound_policy: self.default_inbound_policy.or(base.default_inbound_policy),
            require_identity_ports: self
                .require_identity_ports
                .or_else(|| base.require_identity_ports.clone()),
            outbound_connect_timeout: self.outbound_connect_timeout.or(base.outbound_connect_timeout),
            inbound_connect_timeout: self.inbound_connect_timeout.or(base.inbound_connect_timeout),
            disable_outbound_detect_timeout: self
                .disable_outbound_detect_timeout
                .or(base.disable_outbound_detect_timeout),
            disable_inbound_detect_timeout: self
                .disable_inbound_detect_timeout
                .or(base.disable_inbound_detect_timeout),
            access_log: self.access_log.or(base.access_log),
            fail_mode: self.fail_mode.or(base.fail_mode),
            direct_pass: self.direct_pass.or(base.direct_pass),
            keep_earlier_connections: self.keep_earlier_connections.or(base.keep_earlier_connections),
            splice_ports: self.splice_ports.or_else(|| base.splice_ports.clone()),
            // What is never to be seen stays so: a pod cannot undo its namespace's annotation.
            disable_tap: match (self.disable_tap, base.disable_tap) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (own, inherited) => own.or(inherited),
            },
            // A network namespace belongs to one pod.
            netns: self.netns,
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), (String, String)> {
        match name {
            "linkerd.io/inject" => self.inject = Some(inject(value)?),
            "config.linkerd.io/opaque-ports" => {
                self.opaque_ports = Some(PortNames::parse(value).map_err(ports_advice)?);
            }
            "config.linkerd.io/skip-inbound-ports" => {
                self.skip_inbound_ports = Some(PortSet::parse(value).map_err(ports_advice)?);
            }
            "config.linkerd.io/skip-outbound-ports" => {
                self.skip_outbound_ports = Some(PortSet::parse(value).map_err(ports_advice)?);
            }
            "config.linkerd.io/proxy-require-identity-inbound-ports" => {
                self.require_identity_ports = Some(PortSet::parse(value).map_err(ports_advice)?);
            }
            "config.linkerd.io/skip-subnets" => self.skip_subnets = Some(subnets(value)?),
            "config.linkerd.io/default-inbound-policy" => {
                let policy = value.parse().map_err(|()| {
                    (format!("{value:?} is not a policy"), format!("write one of {}", Policy::names()))
                })?;
                self.default_inbound_policy = Some(policy);
            }
            "config.linkerd.io/proxy-outbound-connect-timeout" => {
                self.outbound_connect_timeout = Some(timeout(value)?);
            }
            "config.linkerd.io/proxy-inbound-connect-timeout" => {
                self.inbound_connect_timeout = Some(timeout(value)?);
            }
            "config.linkerd.io/proxy-disable-outbound-protocol-detect-timeout" => {
                self.disable_outbound_detect_timeout = Some(boolean(value)?);
            }
            "config.linkerd.io/proxy-disable-inbound-protocol-detect-timeout" => {
                self.disable_inbound_detect_timeout = Some(boolean(value)?);
            }
            "config.linkerd.io/access-log" => self.access_log = Some(access_log(value)?),
            "viz.linkerd.io/disable-tap" => self.disable_tap = Some(boolean(value)?),
            "config.weft.dev/fail-mode" => self.fail_mode = Some(fail_mode(value)?),
            "config.weft.dev/direct-pass" => self.direct_pass = Some(enabled(value)?),
            "config.weft.dev/earlier-connections" => {
                self.keep_earlier_connections = Some(keeps_earlier_connections(value)?);
            }
            "config.weft.dev/splice-ports" => self.splice_ports = Some(splice_ports(value)?),
            NETNS => self.netns = Some(netns(value)?),
            unknown if unknown.starts_with("config.weft.dev/") => {
                return Err((
                    "weft has no such annotation".into(),
                    "weft's own are config.weft.dev/direct-pass, config.weft.dev/earlier-connections, \
                     config.weft.dev/fail-mode, config.weft.dev/netns and config.weft.dev/splice-ports"
                        .into(),
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

fn ports_advice(reason: String) -> (String, String) {
    (reason, "write ports and ranges with commas between them, as in \"25,8000-8080\"".into())
}

fn inject(value: &str) -> Result<bool, (String, String)> {
    match value {
        // Ingress mode asks a proxy to trust the Host header; TCP connections are treated the same.
        "enabled" | "ingress" => Ok(true),
        "disabled" => Ok(false),
        other => Err((format!("{other:?} is not a mode"), "write enabled, disabled or ingress".into())),
    }
}

fn subnets(value: &str) -> Result<Vec<IpNet>, (String, String)> {
    value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            item.parse::<IpNet>().map(|net| net.trunc()).map_err(|_| {
                (format!("{item:?} is not a subnet"), "write CIDRs, as in \"10.1.0.0/16,fd00::/64\"".into())
            })
        })
        .collect()
}

fn timeout(value: &str) -> Result<Duration, (String, String)> {
    let advice = || "write a duration between 1ms and 1h, as in \"300ms\" or \"1s\"".to_owned();
    let duration = parse_duration(value).map_err(|_| (format!("{value:?} is not a duration"), advice()))?;
    match (Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&duration) {
        true => Ok(duration),
        false => Err((format!("{value:?} is out of range"), advice())),
    }
}

/// Linkerd accepts what Go's `strconv.ParseBool` does.
fn boolean(value: &str) -> Result<bool, (String, String)> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err((format!("{other:?} is not a boolean"), "write \"true\" or \"false\"".into())),
    }
}

fn access_log(value: &str) -> Result<AccessLog, (String, String)> {
    match value {
        "apache" => Ok(AccessLog::Apache),
        "json" => Ok(AccessLog::Json),
        // Linkerd's own default value; a pod can undo its namespace's annotation with it.
        "" => Ok(AccessLog::Off),
        other => Err((format!("{other:?} is not a format"), "write apache or json".into())),
    }
}

fn fail_mode(value: &str) -> Result<FailMode, (String, String)> {
    match value {
        "open" => Ok(FailMode::Open),
        "closed" => Ok(FailMode::Closed),
        other => Err((format!("{other:?} is not a fail mode"), "write open or closed".into())),
    }
}

fn enabled(value: &str) -> Result<bool, (String, String)> {
    match value {
        "enabled" => Ok(true),
        "disabled" => Ok(false),
        other => Err((format!("{other:?} is not a valid value"), "write enabled or disabled".into())),
    }
}

fn keeps_earlier_connections(value: &str) -> Result<bool, (String, String)> {
    match value {
        "keep" => Ok(true),
        "close" => Ok(false),
        other => Err((format!("{other:?} is not a valid value"), "write close or keep".into())),
    }
}

fn splice_ports(value: &str) -> Result<PortSet, (String, String)> {
    let ports = PortSet::parse(value).map_err(ports_advice)?;
    let ranges = ports.ranges().len();
    match ranges <= MAX_SPLICE_RANGES {
        true => Ok(ports),
        false => Err((
            format!("{ranges} ranges of ports are too many"),
            format!("write at most {MAX_SPLICE_RANGES}; neighbouring ports count as one range"),
        )),
    }
}

fn netns(value: &str) -> Result<String, (String, String)> {
    let is_pid = value.strip_prefix("pid:").is_some_and(|pid| pid.parse::<u32>().is_ok_and(|pid| pid > 0));
    match is_pid || value.starts_with('/') {
        true => Ok(value.to_owned()),
        false => Err((
            format!("{value:?} is not a network namespace"),
            "write an absolute path or pid:N, as in \"/run/netns/web\" or \"pid:4711\"".into(),
        )),
    }
}
