//! Whose is a network namespace?

use std::collections::HashMap;

use tokio::time::sleep;
use tracing::{error, warn};
use weft_api::node::State;

use super::super::{Key, Spec};
use super::{Keeper, RETRY};
use crate::capture::Netns;

pub(super) const SHARED: &str =
    "it shares the node's network (hostNetwork): its connections cannot be told from the node's own";

impl Keeper {
    /// The pod's namespace, once it is there and no other pod's.
    ///
    /// # Errors
    /// Why it can never be served there.
    pub(super) async fn find(&self, spec: &Spec) -> Result<Netns, String> {
        self.states.set(&spec.key, &spec.uid, State::Joining, "");
        let trouble = |reason: &str| {
            warn!(workload = %spec.key, reason, "the pod's network namespace is not found; looking on");
            self.states.set(&spec.key, &spec.uid, State::Joining, reason);
        };
        let mut refused = String::new();
        loop {
            let netns = self.finder.find(spec, trouble).await;
            if netns.cookie() == self.shared.capture.host().cookie() {
                return Err(SHARED.to_owned());
            }
            let Err(reason) = self.claim(&netns, &spec.key) else { return Ok(netns) };
            if refused != reason {
                error!(workload = %spec.key, reason, "the workload cannot be served");
                self.states.set(&spec.key, &spec.uid, State::Refused, &reason);
                refused = reason;
            }
            // Whose it is may be about to leave.
            sleep(RETRY).await;
        }
    }

    /// # Errors
    /// Another pod has this namespace: served as two, each would have the other's terms.
    fn claim(&self, netns: &Netns, key: &Key) -> Result<(), String> {
        let mut claimed = self.claimed.lock();
        let owner = claimed.entry(netns.cookie()).or_insert_with(|| key.clone());
        if owner == key {
            return Ok(());
        }
        Err(format!("{} is the network namespace of {owner} already", netns.path().display()))
    }

    /// A pod that is wanted no more while it joins: it leaves nothing in the books, where a predecessor, or what it was
    /// before, may have written it.
    pub(super) async fn disclaim(&self, key: &Key) {
        let mine = |claimed: &HashMap<u64, Key>| -> Vec<u64> {
            claimed.iter().filter(|(_, owner)| *owner == key).map(|(netns, _)| *netns).collect()
        };
        let netns = mine(&self.claimed.lock());
        if netns.is_empty() {
            return;
        }
        self.gate.pass_when_open(|| self.shared.capture.forget_others(|known| !netns.contains(&known))).await;
        self.claimed.lock().retain(|_, owner| owner != key);
    }
}
