//! Options that several `weft viz` commands have.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use weft_api::viz::Window;

/// Where weft-viz is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct VizOptions {
    /// The namespace of weft-viz
    #[arg(
        long,
        global = true,
        value_name = "NAMESPACE",
        env = "WEFT_VIZ_NAMESPACE",
        default_value = "weft-viz",
        help_heading = "Cluster"
    )]
    pub(crate) viz_namespace: String,
    /// Ask the dev VM that `cargo xtask run` started rather than a cluster: --vm, --vm=NAME or --vm=FILE
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "WEFT_VM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        help_heading = "Cluster"
    )]
    pub(crate) vm: Option<String>,
    /// Ask weft-viz at this address rather than in the cluster, as where you have forwarded its port yourself
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        value_parser = address,
        help_heading = "Cluster"
    )]
    pub(crate) api_addr: Option<String>,
}

fn address(text: &str) -> Result<String, String> {
    let is_address = text.parse::<http::uri::Authority>().is_ok_and(|authority| {
        authority.port_u16().is_some() && !authority.host().is_empty() && !text.contains('@')
    });
    if is_address {
        Ok(text.to_owned())
    } else {
        Err("write it as HOST:PORT, as in localhost:8084".to_owned())
    }
}

/// The range of time of the figures.
#[derive(Clone, Debug, Args)]
pub(super) struct WindowOption {
    /// The range of time that the figures are of, ending now, as 10m, 6h or 1h30m; 30s to 7d
    #[arg(short = 't', long = "time-window", value_name = "WINDOW", default_value = "1m", value_parser = window)]
    pub(super) window: Window,
}

fn window(text: &str) -> Result<Window, String> {
    Window::from_str(text)
}

/// The format of figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    #[default]
    Table,
    /// More columns, where there are more
    Wide,
    Json,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct OutputOption {
    /// The format of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Output,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for text in ["localhost:8084", "10.0.0.1:80", "[::1]:8084", "viz.example.org:8080"] {
            assert_eq!(address(text).as_deref(), Ok(text));
        }
        for text in
            ["", "localhost", ":8084", "http://localhost:8084", "me:secret@localhost:80", "a b:1", "a:99999"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
