//! Estimates how much the memory of the mesh's processes grows per round of equal work.
//!
//! Allocators keep freed memory in large pieces, and every thread has its own arena, so that single samples of resident
//! memory say little. Three measures help. The processes have one arena, which returns free memory
//! ([`low_memory`]). Only the second half of many equal rounds counts, when pools, caches and the arena have reached
//! their size. And the result is the median of the slopes between all pairs of samples (the Theil-Sen estimator): a
//! single large allocation is an outlier, while a leak is in every slope.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::process;
use crate::mesh::{Description, Mesh};

/// Samples of the memory of all processes, one after each round.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<String, Vec<u64>>);

/// Configures the processes' allocator (glibc) to keep as little free memory as possible.
pub fn low_memory(cluster: Description) -> Description {
    cluster
        .env("MALLOC_ARENA_MAX", "1")
        // Larger allocations are mapped separately and unmapped when freed. Unset, the threshold grows up to 32 MiB.
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .env("MALLOC_TRIM_THRESHOLD_", "65536")
}

impl Memory {
    /// Takes a sample.
    pub fn sample(&mut self, mesh: &Mesh) -> Result<()> {
        for (name, pid) in mesh.processes()? {
            self.0.entry(name).or_default().push(process::anonymous_memory(pid)?);
        }
        Ok(())
    }

    /// Fails if a process grew by more than `most` bytes per round.
    pub fn grows_at_most(&self, most: u64) -> Result<()> {
        for (name, samples) in &self.0 {
            let growth = growth(samples);
            ensure!(
                growth <= most as i64,
                "{name} grows by {growth} bytes per round, more than {most}: {samples:?}"
            );
        }
        Ok(())
    }

    /// Each process's first, middle and last sample in MiB and its growth per round in KiB.
    pub fn show(&self) -> String {
        let line = |(name, samples): (&String, &Vec<u64>)| {
            let mib = |at: usize| samples.get(at).map_or(0.0, |bytes| *bytes as f64 / f64::from(1 << 20));
            let (middle, last) = (samples.len() / 2, samples.len().saturating_sub(1));
            let growth = growth(samples) as f64 / 1024.0;
            format!(
                "{name}: {:.1}, {:.1}, {:.1} MiB ({growth:+.1} KiB per round)",
                mib(0),
                mib(middle),
                mib(last)
            )
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("; ")
    }
}

/// Per round, over the second half.
fn growth(samples: &[u64]) -> i64 {
    let samples = &samples[samples.len() / 2..];
    let mut slopes = Vec::new();
    for (from, earlier) in samples.iter().enumerate() {
        for (rounds, later) in samples[from..].iter().enumerate().skip(1) {
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
    fn a_single_jump_is_no_growth_and_a_leak_is() {
        assert_eq!(growth(&[1, 2, 3, 4, 5, 6, 5000, 5000, 5000, 5000, 9000, 5000]), 0);
        assert_eq!(growth(&[1, 2, 3, 4, 100, 110, 120, 130, 5140]), 10);
        assert_eq!(growth(&[9, 9, 9, 9, 900, 890, 910, 890, 905]), 1);
        assert_eq!(growth(&[7]), 0);
        let memory = Memory([("a".to_owned(), vec![0, 10, 20, 30])].into());
        assert!(memory.grows_at_most(10).is_ok() && memory.grows_at_most(9).is_err());
    }
}
