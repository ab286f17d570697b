//! Keeps which pods the proxies serve, so that a new control plane knows it at once.
//!
//! A pod is announced as meshed only while its node's proxy serves it. If a control plane had to wait for reports after
//! its start, it would announce meshed pods as unmeshed until then, and connections to them would go in plaintext. So
//! the reports are kept in a file.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use weft_api::node::{State, WorkloadState};

use crate::{
    index::{Index, Instance, Served},
    model::Name,
    state,
};

#[derive(Debug)]
pub(crate) struct ServedFile {
    path: Option<Mutex<PathBuf>>,
    was_found: bool,
}

impl ServedFile {
    /// Opens and reads the file at `path`. One that cannot be read counts as empty: the proxies will report again.
    pub(crate) fn open(path: &Path) -> (Self, Served) {
        let known = fs::read(path).ok().and_then(|content| {
            serde_json::from_slice(&content)
                .inspect_err(|error| {
                    tracing::warn!(path = %path.display(), %error, "cannot read which pods are served; waiting for reports of the proxies");
                })
                .ok()
        });
        let was_found = known.is_some();
        (Self { path: Some(Mutex::new(path.to_owned())), was_found }, known.unwrap_or_default())
    }

    /// No file: nothing is kept.
    pub(crate) fn none() -> Self {
        Self { path: None, was_found: false }
    }

    /// Whether there was a valid file at the start.
    pub(crate) fn was_found(&self) -> bool {
        self.was_found
    }

    /// Writes which pods are served now. A failure is only logged: what is served is forgotten at the next start then.
    pub(super) fn write_or_log(&self, index: &Index) {
        if let Err(error) = self.write(index) {
            tracing::error!("cannot write which pods are served: {error}");
        }
    }

    fn write(&self, index: &Index) -> io::Result<()> {
        // Locked before reading: the last of several writers writes the newest state.
        let Some(path) = &self.path else { return Ok(()) };
        let path = path.lock();
        let content = serde_json::to_vec(&index.served())?;
        state::write(&path, &content, 0o600)
    }
}

/// The pods that a report says are served, and those that are no longer to be announced as meshed.
///
/// A pod that is joining stays as it was. A restarted proxy takes up one pod after the other, and peers would send
/// plaintext to pods that were announced as unmeshed meanwhile.
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
