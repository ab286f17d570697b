//! What can go wrong between the proxy and the kernel?

use std::{io, path::PathBuf};

/// Names the step, the thing and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The BPF file system is not there.
    #[error("{0} is not a BPF file system; mount one: mount -t bpf bpf {0}")]
    NotBpffs(PathBuf),
    /// A path could not be used.
    #[error("{what} {path}: {source}")]
    Path {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel refused the object.
    #[error(
        "the eBPF object was not loaded: {0}; weft needs kernel 5.18 or newer with BTF, and CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN (cargo xtask doctor tells what is missing)"
    )]
    Load(#[source] aya::EbpfError),
    /// A program or map is not in the object: another version's.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// The kernel refused a program.
    #[error("program {name}: {source}")]
    Program {
        /// The program.
        name: &'static str,
        /// Why.
        source: aya::programs::ProgramError,
    },
    /// A link could not be pinned or updated.
    #[error("link {name}: {reason}")]
    Link {
        /// The link.
        name: String,
        /// Why.
        reason: String,
    },
    /// A map could not be used.
    #[error("map {name}: {source}")]
    Map {
        /// The map.
        name: &'static str,
        /// Why.
        source: aya::maps::MapError,
    },
    /// The cgroups do not fit.
    #[error("{0}")]
    Cgroup(String),
    /// Something in a pod's namespace failed.
    #[error("{what} in network namespace {netns}: {source}")]
    Netns {
        /// What was tried.
        what: &'static str,
        /// The namespace's cookie.
        netns: u64,
        /// Why it failed.
        source: io::Error,
    },
}

impl CaptureError {
    pub(super) fn path(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| CaptureError::Path { what, path, source }
    }

    pub(super) fn map(name: &'static str) -> impl FnOnce(aya::maps::MapError) -> Self {
        move |source| CaptureError::Map { name, source }
    }

    pub(super) fn program(name: &'static str) -> impl Fn(aya::programs::ProgramError) -> Self {
        move |source| CaptureError::Program { name, source }
    }
}
