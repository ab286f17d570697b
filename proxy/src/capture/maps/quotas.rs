//! Counts how many entries of shared maps a workload has, so that it cannot fill them for all.

use aya::maps::{HashMap, MapData, MapError};

use super::{CaptureError, Maps, absent_is_fine};

/// Insert only if there is no entry (`BPF_NOEXIST`).
const NOEXIST: u64 = 1;

impl Maps {
    /// Begins to count the workload's entries. The counts of a predecessor go on.
    pub(in crate::capture) fn set_quotas(&mut self, netns: u64) -> Result<(), CaptureError> {
        for (name, counts) in self.counts() {
            match counts.insert(netns, 0, NOEXIST) {
                Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => {
                }
                result => result.map_err(CaptureError::map(name))?,
            }
        }
        Ok(())
    }

    pub(super) fn forget_quotas(&mut self, netns: u64) -> Result<(), CaptureError> {
        for (name, counts) in self.counts() {
            absent_is_fine(counts.remove(&netns)).map_err(CaptureError::map(name))?;
        }
        Ok(())
    }

    fn counts(&mut self) -> [(&'static str, &mut HashMap<MapData, u64, u64>); 2] {
        [
            ("HANDSHAKES_BY_NETNS", &mut self.handshake_counts),
            ("LISTENERS_BY_NETNS", &mut self.listener_counts),
        ]
    }
}
