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
    let filter = EnvFilter::try_new(level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => builder.with_ansi(false).init(),
        Format::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
