//! Gives workloads slots of redirect targets.

use std::collections::HashSet;

use weft_common::SLOTS;

use super::{CaptureError, Maps};

impl Maps {
    /// Gives the workload a slot of redirect targets that no other one has: the one it had before, if any.
    ///
    /// # Errors
    /// The map cannot be written. All slots taken is none: the workload's connections share one target.
    pub(in crate::capture) fn assign_slot(&mut self, netns: u64) -> Result<u32, CaptureError> {
        let known = self.workload(netns).map_or(0, |workload| workload.slot);
        let slot = if known != 0 {
            known
        } else {
            let taken: HashSet<u32> =
                self.workloads.iter().flatten().map(|(_, workload)| workload.slot).collect();
            (1..SLOTS).find(|slot| !taken.contains(slot)).unwrap_or(0)
        };
        if slot != 0 {
            self.netns_by_slot.set(slot, netns, 0).map_err(CaptureError::map("NETNS_BY_SLOT"))?;
        }
        Ok(slot)
    }

    pub(super) fn release_slot(&mut self, netns: u64) -> Result<(), CaptureError> {
        match self.workload(netns).map(|workload| workload.slot) {
            Some(slot) if slot != 0 => {
                self.netns_by_slot.set(slot, 0, 0).map_err(CaptureError::map("NETNS_BY_SLOT"))
            }
            _ => Ok(()),
        }
    }
}
