//! Sets up logging.

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging to standard error; `level` is a level or tracing directives (`info,weft_control=debug`).
pub(crate) fn init(format: Format, level: &str) -> Result<(), ParseError> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(std::io::stderr);
    match format {
        Format::Text => builder.with_ansi(false).init(),
        Format::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// The Kubernetes client logs each attempt that fails, many a second while the API server is away, and not what was asked.
/// weft-control says by itself what it cannot read.
fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("kube_client=off,{level}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubernetes_client_is_silent_unless_it_is_asked_for() {
        let shown = |level: &str| filter(level).unwrap().to_string();
        assert!(shown("info").contains("kube_client=off"), "{}", shown("info"));
        let asked = shown("info,kube_client=debug");
        assert!(asked.contains("kube_client=debug") && !asked.contains("off"), "{asked}");
    }

    #[test]
    fn a_level_that_does_not_exist_is_an_error() {
        assert!(filter("info,weft_control=loud").is_err());
    }
}
