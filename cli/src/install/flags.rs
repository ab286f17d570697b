//! The options that set values of the installation.

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::set_flags::{SetFlags, lay_over};
use crate::chart::{CONTROL_PLANE, coalesce};

/// Options that set values.
#[derive(Debug, Default, Args)]
pub(super) struct ValueFlags {
    /// Set up several replicas of the control plane, on different nodes
    #[arg(long, help_heading = "Control plane")]
    pub(super) ha: bool,
    /// How many replicas of the control plane run
    #[arg(long, value_name = "N", help_heading = "Control plane")]
    controller_replicas: Option<u16>,
    /// What the control plane logs
    #[arg(long, value_name = "LEVEL", help_heading = "Control plane")]
    controller_log_level: Option<String>,
    /// The user that the control plane runs as
    #[arg(long, value_name = "UID", help_heading = "Control plane")]
    controller_uid: Option<u32>,
    /// The group that the control plane runs as
    #[arg(long, value_name = "GID", help_heading = "Control plane")]
    controller_gid: Option<u32>,
    /// The last part of every service's DNS name
    #[arg(long, value_name = "DOMAIN", help_heading = "Control plane")]
    cluster_domain: Option<String>,
    /// The networks of pod and service addresses
    #[arg(long, value_name = "CIDR,…", help_heading = "Control plane")]
    cluster_networks: Option<String>,

    /// Who may connect to the ports of pods, where no annotation or Server says otherwise: all-unauthenticated,
    /// all-authenticated, cluster-unauthenticated, cluster-authenticated, deny or audit
    #[arg(long, value_name = "POLICY", help_heading = "Proxies")]
    default_inbound_policy: Option<String>,
    /// Ports to which connections go directly, where no annotation says otherwise
    #[arg(long, value_name = "PORT,…", help_heading = "Proxies")]
    skip_inbound_ports: Option<String>,
    /// Ports that pods connect to directly, where no annotation says otherwise
    #[arg(long, value_name = "PORT,…", help_heading = "Proxies")]
    skip_outbound_ports: Option<String>,
    /// Ports whose protocol is not detected, where no annotation says otherwise
    #[arg(long, value_name = "PORT,…", help_heading = "Proxies")]
    opaque_ports: Option<String>,
    /// What the node proxies log
    #[arg(long, value_name = "LEVEL", help_heading = "Proxies")]
    proxy_log_level: Option<String>,
    /// The CPU that a node proxy requests, as in 100m
    #[arg(long, value_name = "CPU", help_heading = "Proxies")]
    proxy_cpu_request: Option<String>,
    /// The most CPU that a node proxy may use, as in 2
    #[arg(long, value_name = "CPU", help_heading = "Proxies")]
    proxy_cpu_limit: Option<String>,
    /// The memory that a node proxy requests, as in 64Mi
    #[arg(long, value_name = "MEMORY", help_heading = "Proxies")]
    proxy_memory_request: Option<String>,
    /// The most memory that a node proxy may use, as in 1Gi
    #[arg(long, value_name = "MEMORY", help_heading = "Proxies")]
    proxy_memory_limit: Option<String>,

    /// The registry of the images
    #[arg(long, value_name = "REGISTRY", help_heading = "Images")]
    registry: Option<String>,
    /// When nodes pull the images: Always, IfNotPresent or Never
    #[arg(long, value_name = "POLICY", help_heading = "Images")]
    image_pull_policy: Option<String>,

    #[command(flatten)]
    set: SetFlags,
}

/// The format of printed manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Yaml,
    Json,
}

impl ValueFlags {
    /// `base` with what the options say laid over it: --ha first, then values files, then single options, then --set.
    pub(super) fn apply(&self, base: Value) -> Result<Value> {
        let mut values = base;
        if self.ha {
            values = lay_over(values, &CONTROL_PLANE.high_availability()?);
        }
        values = self.set.files(values)?;
        for (name, value) in self.singles() {
            if let Some(value) = value {
                let mut one = value;
                for key in name.rsplit('.') {
                    one = Value::Object([(key.to_owned(), one)].into_iter().collect());
                }
                values = lay_over(values, &one);
            }
        }
        self.set.assign(values)
    }

    fn singles(&self) -> Vec<(&'static str, Option<Value>)> {
        fn text(value: Option<&String>) -> Option<Value> {
            value.map(|value| Value::from(value.as_str()))
        }
        vec![
            ("controllerReplicas", self.controller_replicas.map(Value::from)),
            ("controllerLogLevel", text(self.controller_log_level.as_ref())),
            ("controllerUID", self.controller_uid.map(Value::from)),
            ("controllerGID", self.controller_gid.map(Value::from)),
            ("clusterDomain", text(self.cluster_domain.as_ref())),
            ("clusterNetworks", text(self.cluster_networks.as_ref())),
            ("proxy.defaultInboundPolicy", text(self.default_inbound_policy.as_ref())),
            ("proxyInit.ignoreInboundPorts", text(self.skip_inbound_ports.as_ref())),
            ("proxyInit.ignoreOutboundPorts", text(self.skip_outbound_ports.as_ref())),
            ("proxy.opaquePorts", text(self.opaque_ports.as_ref())),
            ("proxy.logLevel", text(self.proxy_log_level.as_ref())),
            ("proxy.resources.cpu.request", text(self.proxy_cpu_request.as_ref())),
            ("proxy.resources.cpu.limit", text(self.proxy_cpu_limit.as_ref())),
            ("proxy.resources.memory.request", text(self.proxy_memory_request.as_ref())),
            ("proxy.resources.memory.limit", text(self.proxy_memory_limit.as_ref())),
            ("imageRegistry", text(self.registry.as_ref())),
            ("imagePullPolicy", text(self.image_pull_policy.as_ref())),
        ]
    }
}

/// The chart's values with `overrides`.
pub(super) fn effective(overrides: &Value) -> Result<Value> {
    Ok(coalesce(CONTROL_PLANE.defaults()?, overrides))
}
