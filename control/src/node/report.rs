//! Which pods do the proxies serve, and how does a new control plane know at once?
//!
//! A pod is announced as meshed only when its node's proxy serves it. If a control plane that starts had to wait for
//! the reports, it would announce meshed pods as unmeshed for that long, and connections to them would go in plaintext.
//! So what was reported is kept in a file.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use weft_api::node::{State, WorkloadState};

use crate::{
    index::{Index, Instance, Name, Served},
    state,
};

/// The file that keeps which pods are served.
#[derive(Debug)]
pub(crate) struct ServedFile {
    path: Mutex<PathBuf>,
}

impl ServedFile {
    /// The file at `path` and what it says. A file that cannot be read is as if it were empty: the proxies will report
    /// again.
    pub(crate) fn open(path: &Path) -> (Self, Served) {
        let served = match fs::read(path) {
            Ok(content) => serde_json::from_slice(&content).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "which pods are served cannot be read; proxies will tell");
                Served::new()
            }),
            Err(_) => Served::new(),
        };
        (Self { path: Mutex::new(path.to_owned()) }, served)
    }

    /// Writes what is served now; of several writers the last one has the newest state.
    pub(super) fn write(&self, index: &Index) -> io::Result<()> {
        let path = self.path.lock();
        let content = serde_json::to_vec(&index.all_served())?;
        state::write(&path, &content, 0o600)
    }
}

/// A report: the pods that are served, and those that are not to be announced (any more).
///
/// A pod that is joining stays what it was: after a restart a proxy takes up one pod after the other, and a peer
/// that took them for unmeshed meanwhile would speak plaintext to them.
pub(super) fn instances(
    node: &str,
    workloads: Vec<WorkloadState>,
) -> (BTreeSet<Instance>, BTreeSet<Instance>) {
    let (mut served, mut withdrawn) = (BTreeSet::new(), BTreeSet::new());
    for workload in workloads {
        let state = workload.state();
        let Some(reference) = workload.r#ref else { continue };
        let name = Name { namespace: reference.namespace, name: reference.name };
        if state != State::Served {
            tracing::debug!(node, pod = %name, ?state, reason = workload.reason, "pod is not served");
        }
        let instance = Instance { name, uid: reference.uid };
        match state {
            State::Served => _ = served.insert(instance),
            State::Refused | State::Leaving => _ = withdrawn.insert(instance),
            State::Joining | State::Unspecified => {}
        }
    }
    (served, withdrawn)
}
