//! Sets up logging, and changes the log level at run time.
#![forbid(unsafe_code)]

mod limiter;

use std::{fmt, io, str::FromStr};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    fmt::MakeWriter,
    layer::SubscriberExt,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

pub use self::limiter::LogLimiter;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Changes the log level.
#[derive(Clone, Debug)]
pub struct LevelHandle(reload::Handle<EnvFilter, Registry>);

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is invalid. `warn,weft_proxy=debug` is a valid one.
    #[error("invalid log level {directives:?}: {cause}")]
    Level { directives: String, cause: ParseError },
    /// The level is empty.
    #[error("the log level is empty; use \"off\" to disable logging")]
    Empty,
    /// The process has a logger already.
    #[error("logging is already set up: {0}")]
    Init(#[from] TryInitError),
    /// The process no longer has a logger.
    #[error("failed to change the log level: {0}")]
    Closed(#[from] reload::Error),
}

/// The default log level.
pub const DEFAULT_LEVEL: &str = "info";

/// Starts to log to stdout, including `log` events of libraries. `level` are tracing's directives.
pub fn init(format: Format, level: &str) -> Result<LevelHandle, LoggingError> {
    let (subscriber, handle) = subscriber(format, level, io::stdout)?;
    subscriber.try_init()?;
    Ok(handle)
}

/// Logs panics, each with its thread and place: a panic ends one connection, or the process (see `run::tasks`).
pub fn log_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        tracing::error!(thread = thread.name().unwrap_or("?"), %panic, "internal error: a task panicked");
        default(panic);
    }));
}

impl LevelHandle {
    /// Replaces the directives, for all threads at once.
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        Ok(self.0.reload(filter(level)?)?)
    }

    /// The directives in force.
    pub fn current(&self) -> Result<String, LoggingError> {
        let level = self.0.with_current(ToString::to_string)?;
        let directives =
            level.split(',').filter(|directive| !QUIET.split(',').any(|quiet| quiet == *directive));
        Ok(directives.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

fn subscriber<W>(
    format: Format,
    level: &str,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, LevelHandle), LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok((tracing_subscriber::registry().with(filter).with(lines), LevelHandle(handle)))
}

/// Libraries that log what peers do, without a limit. weft logs that itself. A level may name them to hear them.
const QUIET: &str = "h2=off,hyper=off";

fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    let level = level.trim();
    if level.is_empty() {
        return Err(LoggingError::Empty);
    }
    EnvFilter::from_str(&format!("{QUIET},{level}"))
        .map_err(|cause| LoggingError::Level { directives: level.chars().take(200).collect(), cause })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A handle; its logging lasts as long as the guard.
    pub(crate) fn handle() -> (LevelHandle, tracing::subscriber::DefaultGuard) {
        let (subscriber, handle) = subscriber(Format::Text, "info", io::sink).unwrap();
        (handle, tracing::subscriber::set_default(subscriber))
    }

    #[test]
    fn the_level_can_be_changed() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, handle) = subscriber(Format::Text, DEFAULT_LEVEL, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("no");
            tracing::info!(source = "demo/web", "yes");
            let text = lines.take();
            assert!(text.contains("INFO") && text.contains("yes source=\"demo/web\""), "{text}");
            assert!(!text.contains("no\n"), "{text}");
            handle.set("warn,weft_proxy=debug").unwrap();
            assert_eq!(handle.current().unwrap(), "weft_proxy=debug,warn");
            tracing::debug!("now");
            assert!(lines.take().contains("now"));
            handle.set(" off\n").unwrap();
            tracing::error!("silent");
            assert_eq!(lines.take(), "");
        });
        assert!(matches!(handle.set("weft=very-loud"), Err(LoggingError::Level { .. })));
        assert!(matches!(handle.set(" "), Err(LoggingError::Empty)));
    }

    #[test]
    fn json_is_one_object_per_line() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _handle) = subscriber(Format::Json, "info", move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(port = 80, "first");
            tracing::warn!("second\nline");
        });
        let objects: Vec<serde_json::Value> =
            lines.take().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (objects.len(), &objects[0]["port"], &objects[0]["message"]),
            (2, &80.into(), &"first".into())
        );
    }
}
