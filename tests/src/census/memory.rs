//! Does the memory of the mesh's processes grow with what they have done?
//!
//! Allocators keep what they once had, in lumps, and every thread has an arena of its own: a look at resident memory
//! says little. Three things make it say more. The processes have one arena, which gives back what is free
//! ([`frugal`]). Only the second half of many equal rounds counts: until then pools, caches and the arena find their
//! size. And it is the median of the slopes between all pairs of looks (Theil and Sen's) that counts: a lump is an
//! outlier, and what every round leaves behind is in each of them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::process;
use crate::mesh::{Description, Mesh};

/// Looks at the memory of all processes, one after each round.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<String, Vec<u64>>);

/// The cluster with allocators (glibc's) that keep as little as they can.
pub fn frugal(cluster: Description) -> Description {
    cluster
        .env("MALLOC_ARENA_MAX", "1")
        // A fixed bound for what is mapped alone and unmapped when freed; else it adapts, up to 32 MiB.
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .env("MALLOC_TRIM_THRESHOLD_", "65536")
}

impl Memory {
    /// Takes a look.
    pub fn look(&mut self, mesh: &Mesh) -> Result<()> {
        for (name, pid) in mesh.processes()? {
            self.0.entry(name).or_default().push(process::anonymous_memory(pid)?);
        }
        Ok(())
    }

    /// Fails if a process grew by more than `most` bytes a round.
    pub fn grows_at_most(&self, most: u64) -> Result<()> {
        for (name, looks) in &self.0 {
            let growth = growth(looks);
            ensure!(
                growth <= most as i64,
                "{name} grows by {growth} bytes a round, more than {most}: {looks:?}"
            );
        }
        Ok(())
    }

    /// For people: each process's first, middle and last look in MiB and its growth a round in KiB.
    pub fn show(&self) -> String {
        let line = |(name, looks): (&String, &Vec<u64>)| {
            let mib = |at: usize| looks.get(at).map_or(0.0, |bytes| *bytes as f64 / f64::from(1 << 20));
            let (middle, last) = (looks.len() / 2, looks.len().saturating_sub(1));
            let growth = growth(looks) as f64 / 1024.0;
            format!(
                "{name}: {:.1}, {:.1}, {:.1} MiB ({growth:+.1} KiB a round)",
                mib(0),
                mib(middle),
                mib(last)
            )
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("; ")
    }
}

/// A round, over the second half.
fn growth(looks: &[u64]) -> i64 {
    let looks = &looks[looks.len() / 2..];
    let mut slopes = Vec::new();
    for (from, earlier) in looks.iter().enumerate() {
        for (rounds, later) in looks[from..].iter().enumerate().skip(1) {
            slopes.push((later.cast_signed() - earlier.cast_signed()) / rounds as i64);
        }
    }
    slopes.sort_unstable();
    slopes.get(slopes.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lump_is_no_growth_and_a_leak_is() {
        assert_eq!(growth(&[1, 2, 3, 4, 5, 6, 5000, 5000, 5000, 5000, 9000, 5000]), 0);
        assert_eq!(growth(&[1, 2, 3, 4, 100, 110, 120, 130, 5140]), 10);
        assert_eq!(growth(&[9, 9, 9, 9, 900, 890, 910, 890, 905]), 1);
        assert_eq!(growth(&[7]), 0);
        let memory = Memory([("a".to_owned(), vec![0, 10, 20, 30])].into());
        assert!(memory.grows_at_most(10).is_ok() && memory.grows_at_most(9).is_err());
    }
}
