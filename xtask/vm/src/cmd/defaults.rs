//! The options of `weft-vm run` that weft-control gets: what applies where no annotation says otherwise.

/// They have the names that they have for weft-control and `weft install`, which check them.
#[derive(clap::Args)]
pub(crate) struct Defaults {
    /// Who may connect to the ports of pods, where no annotation or Server says otherwise
    #[arg(long, value_name = "POLICY")]
    default_inbound_policy: Option<String>,
    /// Ports to which connections go directly, where no annotation says otherwise
    #[arg(long, value_name = "PORT,…")]
    skip_inbound_ports: Option<String>,
    /// Ports that pods connect to directly, where no annotation says otherwise
    #[arg(long, value_name = "PORT,…")]
    skip_outbound_ports: Option<String>,
    /// Ports whose protocol is not detected, where no annotation says otherwise
    #[arg(long, value_name = "PORT,…")]
    opaque_ports: Option<String>,
}

impl Defaults {
    /// As arguments of weft-control.
    pub(crate) fn arguments(self) -> Vec<String> {
        let options = [
            ("--default-inbound-policy", self.default_inbound_policy),
            ("--skip-inbound-ports", self.skip_inbound_ports),
            ("--skip-outbound-ports", self.skip_outbound_ports),
            ("--opaque-ports", self.opaque_ports),
        ];
        options.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect()
    }
}
