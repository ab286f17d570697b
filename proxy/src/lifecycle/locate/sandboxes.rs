//! The sandboxes of the node's pods, as the container runtime tells of them.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::nri::Sandbox;

/// More pods than a node has.
const MAX_SANDBOXES: usize = 10_000;

/// What is known of the sandboxes, by their pods' uids. A pod has one at a time.
#[derive(Debug)]
pub struct Sandboxes {
    by_pod: Mutex<HashMap<String, Sandbox>>,
    changed: watch::Sender<()>,
    unreachable: AtomicBool,
}

impl Default for Sandboxes {
    fn default() -> Self {
        Self {
            by_pod: Mutex::default(),
            changed: watch::Sender::new(()),
            unreachable: AtomicBool::new(false),
        }
    }
}

impl Sandboxes {
    /// These are all.
    pub(crate) fn replace(&self, sandboxes: Vec<Sandbox>) {
        let named = sandboxes.into_iter().take(MAX_SANDBOXES);
        let mut by_pod = HashMap::new();
        for sandbox in named {
            // A pod whose sandbox was made anew has two for a while; only the living one has a namespace.
            let known: &mut Sandbox = by_pod.entry(sandbox.uid.clone()).or_insert_with(|| sandbox.clone());
            if known.netns.is_none() {
                *known = sandbox;
            }
        }
        *self.by_pod.lock() = by_pod;
        self.changed.send_replace(());
    }

    pub(crate) fn insert(&self, sandbox: Sandbox) {
        let mut by_pod = self.by_pod.lock();
        if by_pod.len() < MAX_SANDBOXES || by_pod.contains_key(&sandbox.uid) {
            by_pod.insert(sandbox.uid.clone(), sandbox);
        }
        drop(by_pod);
        self.changed.send_replace(());
    }

    /// Its network goes away. A pod that is served keeps its proxy until then.
    pub(crate) fn stop(&self, id: &str) {
        self.by_pod
            .lock()
            .values_mut()
            .filter(|sandbox| sandbox.id == id)
            .for_each(|sandbox| sandbox.netns = None);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.by_pod.lock().retain(|_, sandbox| sandbox.id != id);
    }

    pub(super) fn of_pod(&self, uid: &str) -> Option<Sandbox> {
        self.by_pod.lock().get(uid).cloned()
    }

    /// The namespace of a sandbox cannot be opened where the runtime says that it is.
    pub(super) fn unreachable(&self, id: &str) {
        // A sandbox that has just been removed says nothing.
        if self.by_pod.lock().values().any(|sandbox| sandbox.id == id) {
            self.unreachable.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the runtime's paths are of no use here: its folder is mounted elsewhere, or not at all.
    pub(super) fn have_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    /// Resolves when one is added.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(id: &str, uid: &str, netns: Option<&str>) -> Sandbox {
        Sandbox {
            id: id.to_owned(),
            uid: uid.to_owned(),
            namespace: "demo".to_owned(),
            name: "web".to_owned(),
            netns: netns.map(Into::into),
            ips: Vec::new(),
            inject: None,
            fail_mode: None,
            runtime_handler: String::new(),
            pid: 0,
        }
    }

    #[test]
    fn a_pod_has_the_sandbox_that_lives() {
        let sandboxes = Sandboxes::default();
        sandboxes.replace(vec![sandbox("old", "1", None), sandbox("new", "1", Some("/run/netns/b"))]);
        assert_eq!(sandboxes.of_pod("1").unwrap().id, "new");
        sandboxes.replace(vec![sandbox("new", "1", Some("/run/netns/b")), sandbox("old", "1", None)]);
        assert_eq!(sandboxes.of_pod("1").unwrap().id, "new");
        sandboxes.remove("old");
        assert_eq!(sandboxes.of_pod("1").unwrap().id, "new");
        sandboxes.insert(sandbox("newer", "1", Some("/run/netns/c")));
        sandboxes.remove("new");
        assert_eq!(sandboxes.of_pod("1").unwrap().id, "newer");
        sandboxes.remove("newer");
        assert_eq!(sandboxes.of_pod("1"), None);
    }

    #[test]
    fn a_sandbox_that_stops_has_no_namespace_any_more() {
        let sandboxes = Sandboxes::default();
        sandboxes.insert(sandbox("old", "1", Some("/run/netns/a")));
        sandboxes.insert(sandbox("other", "2", Some("/run/netns/b")));
        sandboxes.stop("old");
        assert_eq!(sandboxes.of_pod("1").unwrap().netns, None);
        assert!(sandboxes.of_pod("2").unwrap().netns.is_some());
    }
}
