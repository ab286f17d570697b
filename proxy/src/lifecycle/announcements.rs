//! What the control plane has said about the pods of this node, for those who wait for word of one.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::workload::Key;

/// A pod that is to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meshed {
    pub(super) key: Key,
    /// Its connections go directly while no proxy serves them.
    pub(super) fail_open: bool,
    pub(super) host_network: bool,
}

/// What is known of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Meshed(Meshed),
    Unmeshed,
    /// The control plane has not named it yet, but will.
    Awaited,
    /// There is no connection to the control plane.
    Unknown,
}

/// The announcements, by the pods' uids.
#[derive(Debug)]
pub(super) struct Announcements {
    known: Mutex<Known>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    connected: bool,
    meshed: HashMap<String, Meshed>,
    unmeshed: HashSet<String>,
}

impl Default for Announcements {
    fn default() -> Self {
        Self { known: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Announcements {
    /// The control plane has named all pods: these are not meshed. Those that are follow.
    pub(super) fn replace(&self, unmeshed: impl IntoIterator<Item = String>) {
        self.change(|known| {
            *known =
                Known { connected: true, meshed: HashMap::new(), unmeshed: unmeshed.into_iter().collect() };
        });
    }

    pub(super) fn meshed(&self, uid: &str, pod: Meshed) {
        self.change(|known| {
            known.unmeshed.remove(uid);
            known.meshed.insert(uid.to_owned(), pod);
        });
    }

    pub(super) fn unmeshed(&self, uid: &str) {
        self.change(|known| {
            known.meshed.remove(uid);
            known.unmeshed.insert(uid.to_owned());
        });
    }

    pub(super) fn removed(&self, uid: &str) {
        self.change(|known| {
            known.meshed.remove(uid);
            known.unmeshed.remove(uid);
        });
    }

    /// The control plane says nothing any more. What it has said holds.
    pub(super) fn disconnected(&self) {
        self.change(|known| known.connected = false);
    }

    pub(super) fn about(&self, uid: &str) -> Word {
        let known = self.known.lock();
        match known.meshed.get(uid) {
            Some(pod) => Word::Meshed(pod.clone()),
            None if known.unmeshed.contains(uid) => Word::Unmeshed,
            None if known.connected => Word::Awaited,
            None => Word::Unknown,
        }
    }

    /// The pods that are to be served.
    pub(super) fn all_meshed(&self) -> HashMap<String, Meshed> {
        self.known.lock().meshed.clone()
    }

    /// Resolves when something has been said.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock());
        self.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_survives_a_disconnection() {
        let announcements = Announcements::default();
        assert_eq!(announcements.about("1"), Word::Unknown);
        announcements.replace(["2".to_owned()]);
        assert_eq!(announcements.about("1"), Word::Awaited);
        assert_eq!(announcements.about("2"), Word::Unmeshed);
        let key = Key { namespace: "demo".to_owned(), name: "web".to_owned() };
        let pod = Meshed { key, fail_open: true, host_network: false };
        announcements.meshed("2", pod.clone());
        announcements.disconnected();
        assert_eq!(announcements.about("2"), Word::Meshed(pod));
        assert_eq!(announcements.about("1"), Word::Unknown);
        announcements.unmeshed("2");
        assert_eq!(announcements.about("2"), Word::Unmeshed);
        announcements.removed("2");
        assert_eq!(announcements.about("2"), Word::Unknown);
    }
}
