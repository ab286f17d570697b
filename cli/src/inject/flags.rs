//! The options of `weft inject` that become annotations.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

/// Settings of the workloads.
#[derive(Debug, Default, Args)]
pub(super) struct SettingFlags {
    /// Ports that the proxy must not interpret, as in 3306,8000-8099
    #[arg(long, value_name = "PORTS", value_parser = ports, help_heading = "Settings")]
    opaque_ports: Option<String>,
    /// Connections to these ports of the pods bypass the proxy
    #[arg(long, value_name = "PORTS", value_parser = ports, help_heading = "Settings")]
    skip_inbound_ports: Option<String>,
    /// Connections from the pods to these ports bypass the proxy
    #[arg(long, value_name = "PORTS", value_parser = ports, help_heading = "Settings")]
    skip_outbound_ports: Option<String>,
    /// Connections to and from these networks bypass the proxy
    #[arg(long, value_name = "CIDR,…", help_heading = "Settings")]
    skip_subnets: Option<String>,
    /// Only clients with an identity of the mesh may connect to these ports
    #[arg(long, value_name = "PORTS", value_parser = ports, help_heading = "Settings")]
    require_identity_on_inbound_ports: Option<String>,
    /// Who may connect if no policy says otherwise
    #[arg(long, value_enum, value_name = "POLICY", help_heading = "Settings")]
    default_inbound_policy: Option<Policy>,
    /// How the proxy logs requests to the pods
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Settings")]
    access_log: Option<AccessLog>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    AllUnauthenticated,
    AllAuthenticated,
    ClusterUnauthenticated,
    ClusterAuthenticated,
    Deny,
    Audit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccessLog {
    Apache,
    Json,
}

impl SettingFlags {
    /// The annotations that say what the options say.
    pub(super) fn annotations(&self) -> Vec<(String, String)> {
        fn name(value: Option<impl ValueEnum>) -> Option<String> {
            value.and_then(|value| Some(value.to_possible_value()?.get_name().to_owned()))
        }
        let all = [
            ("opaque-ports", self.opaque_ports.clone()),
            ("skip-inbound-ports", self.skip_inbound_ports.clone()),
            ("skip-outbound-ports", self.skip_outbound_ports.clone()),
            ("skip-subnets", self.skip_subnets.clone()),
            ("proxy-require-identity-inbound-ports", self.require_identity_on_inbound_ports.clone()),
            ("default-inbound-policy", name(self.default_inbound_policy)),
            ("access-log", name(self.access_log)),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((format!("config.linkerd.io/{key}"), value?)))
            .collect()
    }
}

/// Accepts ports and ranges of ports, separated by commas.
fn ports(text: &str) -> Result<String> {
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if first > 0 && first <= last => {}
            _ => bail!("{part:?} is no port or range of ports; write 3306 or 8000-8099"),
        }
    }
    Ok(text.to_owned())
}
