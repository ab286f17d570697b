//! The errors of this crate, in words for the person at the terminal.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as in "create".
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A system call failed.
    #[error("{what}: {source}{}", hint(*source))]
    System {
        /// The call and its object.
        what: String,
        /// Why.
        source: nix::errno::Errno,
    },
    /// A helper program (ip, nft) could not be started.
    #[error("cannot start `{program}`: {source} (Debian package: {package})")]
    Program {
        /// The program's name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A helper program refused its input.
    #[error("`{program}` failed: {stderr}\n  input was:\n{input}")]
    Refused {
        /// The program's name.
        program: &'static str,
        /// What it printed.
        stderr: String,
        /// What it was given.
        input: String,
    },
    /// There is no cgroup v2 hierarchy.
    #[error(
        "no cgroup v2 at /sys/fs/cgroup or /sys/fs/cgroup/unified: mount one (mount -t cgroup2 none /sys/fs/cgroup/unified)"
    )]
    NoCgroup2,
    /// Another process runs a cluster of this name.
    #[error("a cluster named `{0}` is already running: only one at a time (its files: /run/weft/{0})")]
    Running(String),
    /// No process runs a cluster of this name.
    #[error("no cluster named `{0}` is running: start one with `cargo xtask run`")]
    NotRunning(String),
    /// The name is unknown.
    #[error("no pod `{name}`; there are: {}", list(known))]
    NoPod {
        /// What was asked for.
        name: String,
        /// What exists.
        known: Vec<String>,
    },
    /// The node is unknown.
    #[error("no node `{name}`; there are: {}", list(known))]
    NoNode {
        /// What was asked for.
        name: String,
        /// What exists.
        known: Vec<String>,
    },
    /// The manifests cannot be read; the text names file and field.
    #[error("{0}")]
    Manifests(String),
    /// A pod cannot be run as its manifest says.
    #[error("pod {pod}: {reason}")]
    Pod {
        /// namespace/name.
        pod: String,
        /// What is wrong.
        reason: String,
    },
    /// An address range is used up.
    #[error("no free address left in {0}")]
    Exhausted(String),
    /// weft-control or weft-proxy did not come up.
    #[error("{what} is not ready: {reason}\n  end of {}:\n{tail}", log.display())]
    NotReady {
        /// Which process.
        what: String,
        /// What it lacks.
        reason: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// [`crate::ClusterConfig::cancel`] was set.
    #[error("the start was cancelled")]
    Cancelled,
    /// A process did not answer an HTTP request as it should.
    #[error("GET http://{address}{path}: {reason}")]
    Http {
        /// Where.
        address: std::net::SocketAddr,
        /// Which path.
        path: String,
        /// Why not.
        reason: String,
    },
}

/// This crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.as_ref().to_owned(), source }
    }

    /// For `map_err` on system calls.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(nix::errno::Errno) -> Error {
        move |source| Error::System { what: what.into(), source }
    }
}

fn hint(errno: nix::errno::Errno) -> &'static str {
    match errno {
        nix::errno::Errno::EPERM | nix::errno::Errno::EACCES => " (root is needed)",
        _ => "",
    }
}

fn list(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
