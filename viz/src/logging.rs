//! Sets up logging.

use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::args::Format;

/// Starts logging to standard error.
pub(crate) fn init(format: Format, level: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => builder.with_ansi(false).init(),
        Format::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
