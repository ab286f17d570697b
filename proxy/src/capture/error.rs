//! Errors of the kernel side.

use std::{io, path::PathBuf};

use aya::programs::ProgramError;

use super::kernel;

/// Names the step, the thing and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The kernel is too old, or built without something.
    #[error(transparent)]
    Kernel(kernel::Unsupported),
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
        "the eBPF object was not loaded: {0}; weft needs kernel 6.1 or newer with BTF, and CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN (cargo xtask doctor tells what is missing)"
    )]
    Load(#[source] aya::EbpfError),
    /// A program or map is not in the object: another version's.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// The verifier refused a program that has all that it needs.
    #[error(
        "program {name} was refused by this kernel ({release}): {complaint} ({source}); docs/supported-kernels.md has those that weft is tested on, and --log-level weft_proxy=debug shows all that the kernel said"
    )]
    Refused {
        /// The program.
        name: String,
        /// The kernel.
        release: String,
        /// The verifier's reason.
        complaint: String,
        /// What the system call returned.
        source: io::Error,
    },
    /// A program could not be loaded or attached.
    #[error("program {name}: {source}")]
    Program {
        /// The program.
        name: String,
        /// Why.
        source: ProgramError,
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

    pub(super) fn program(name: &str) -> impl Fn(ProgramError) -> Self {
        move |source| {
            let name = name.to_owned();
            let (io_error, verifier_log) = match source {
                ProgramError::LoadError { io_error, verifier_log }
                    if !verifier_log.to_string().is_empty() =>
                {
                    (io_error, verifier_log)
                }
                // Refused before the verifier saw it (rights), or not a question of loading at all.
                source => return CaptureError::Program { name, source },
            };
            let log = verifier_log.to_string();
            tracing::debug!(program = name, verifier = log, "refused");
            let complaint = complaint(&log).to_owned();
            CaptureError::Refused { name, release: kernel::release(), complaint, source: io_error }
        }
    }
}

/// The line of the verifier's log that says what it did not like: the last one before its statistics.
fn complaint(log: &str) -> &str {
    const STATISTICS: [&str; 3] = ["processed ", "verification time", "stack depth"];
    let is_message =
        |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start));
    log.lines().map(str::trim).rfind(is_message).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_reason_is_found_in_its_log() {
        let log = "0: (b7) r0 = 0\n; bpf_set_retval(-111);\n1: (85) call bpf_set_retval#187\n\
                   program of this type cannot use helper bpf_set_retval#187\n\
                   verification time 120 usec\nstack depth 0\n\
                   processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0\n\n";
        assert_eq!(complaint(log), "program of this type cannot use helper bpf_set_retval#187");
        assert_eq!(complaint(""), "no message");
    }
}
