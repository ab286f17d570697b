//! The listeners of applications: those that the programs have seen open, and pre-existing ones.

use std::{collections::HashSet, net::SocketAddr};

use weft_common::{ListenKey, Workload};

use super::{CaptureError, Maps, absent_is_fine};

impl Maps {
    /// Whether the workload's listeners take half of what they may: it is worth while to look for closed ones.
    pub(in crate::capture) fn has_many_listeners(&self, netns: u64) -> bool {
        self.listener_counts.get(&netns, 0).is_ok_and(|count| count >= Workload::MAX_LISTENERS / 2)
    }

    /// Makes `PREEXISTING_LISTENERS` hold exactly those of `listening` that sockops does not know. Returns their number.
    pub(in crate::capture) fn set_preexisting_listeners(
        &mut self,
        netns: u64,
        listening: &[SocketAddr],
    ) -> Result<usize, CaptureError> {
        let key =
            |addr: &SocketAddr| ListenKey { netns, ip: addr.ip().into(), port: addr.port().into(), pad: 0 };
        let mut wanted: HashSet<ListenKey> = listening
            .iter()
            .map(key)
            .filter(|key| !self.listeners.get(key, 0).is_ok_and(|count| count > 0))
            .collect();
        let most = usize::try_from(Workload::MAX_LISTENERS).unwrap_or(usize::MAX);
        if wanted.len() > most {
            tracing::warn!(
                netns,
                listening = wanted.len(),
                most,
                "the pod listens on more addresses than are followed; some are not reached"
            );
            // Always the same ones, the lowest.
            let mut sorted: Vec<ListenKey> = wanted.into_iter().collect();
            sorted.sort_unstable_by_key(|key| (key.port, key.ip.0));
            wanted = sorted.into_iter().take(most).collect();
        }
        let stale: Vec<ListenKey> = self
            .preexisting
            .keys()
            .flatten()
            .filter(|key| key.netns == netns && !wanted.contains(key))
            .collect();
        for key in &wanted {
            self.preexisting.insert(key, 1, 0).map_err(CaptureError::map("PREEXISTING_LISTENERS"))?;
        }
        for key in stale {
            absent_is_fine(self.preexisting.remove(&key))
                .map_err(CaptureError::map("PREEXISTING_LISTENERS"))?;
        }
        Ok(wanted.len())
    }

    /// Removes the listening addresses on which nobody listens any more.
    pub(in crate::capture) fn prune_listeners(&mut self, netns: u64) -> Result<(), CaptureError> {
        let stale: Vec<ListenKey> = self
            .listeners
            .iter()
            .flatten()
            .filter(|(key, count)| key.netns == netns && *count == 0)
            .map(|(key, _)| key)
            .collect();
        for key in stale {
            absent_is_fine(self.listeners.remove(&key)).map_err(CaptureError::map("LISTENERS_BY_ADDR"))?;
        }
        let left = self.listeners.keys().flatten().filter(|key| key.netns == netns).count() as u64;
        // One that begins to listen at this moment may not be counted; the next look does.
        match self.listener_counts.get(&netns, 0) {
            Ok(count) if count != left => {
                self.listener_counts.insert(netns, left, 0).map_err(CaptureError::map("LISTENERS_BY_NETNS"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn forget_listeners(&mut self, netns: u64) -> Result<(), CaptureError> {
        for (name, map) in
            [("LISTENERS_BY_ADDR", &mut self.listeners), ("PREEXISTING_LISTENERS", &mut self.preexisting)]
        {
            let keys: Vec<ListenKey> = map.keys().flatten().filter(|key| key.netns == netns).collect();
            for key in keys {
                absent_is_fine(map.remove(&key)).map_err(CaptureError::map(name))?;
            }
        }
        Ok(())
    }
}
