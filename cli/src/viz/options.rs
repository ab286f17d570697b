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
}

/// The range of time of the figures.
#[derive(Clone, Debug, Args)]
pub(super) struct WindowOption {
    /// The range of time that the figures are of: 1m, 10m, 1h or 6h, ending now
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
