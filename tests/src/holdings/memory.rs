//! Does the memory of the mesh's processes grow with what they have done?
//!
//! Allocators keep what they once had, in lumps: a single look at resident memory says nothing. The median over many
//! equal rounds does: a lump is an outlier, and what every round leaves behind is in each of them. The first half of
//! the rounds does not count: until then pools and arenas find their size.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::process;
use crate::mesh::Mesh;

/// Looks at the resident memory of all processes, one after each round.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<String, Vec<u64>>);

impl Memory {
    /// Takes a look.
    pub fn look(&mut self, mesh: &Mesh) -> Result<()> {
        for (name, pid) in mesh.processes()? {
            self.0.entry(name).or_default().push(process::memory(pid)?);
        }
        Ok(())
    }

    /// Fails if a process grew by more than `most` bytes a round, as the median over the rounds.
    pub fn grows_at_most(&self, most: u64) -> Result<()> {
        for (name, looks) in &self.0 {
            let growth = median_growth(looks);
            ensure!(
                growth <= most as i64,
                "{name} grows by {growth} bytes a round, more than {most}: {looks:?}"
            );
        }
        Ok(())
    }

    /// For people: each process's first and last look in MiB and its median growth a round in KiB.
    pub fn show(&self) -> String {
        let mib = |bytes: Option<&u64>| bytes.map_or(0.0, |bytes| *bytes as f64 / f64::from(1 << 20));
        let line = |(name, looks): (&String, &Vec<u64>)| {
            let growth = median_growth(looks) as f64 / 1024.0;
            let (first, last) = (mib(looks.first()), mib(looks.last()));
            format!("{name}: {first:.1} -> {last:.1} MiB ({growth:+.0} KiB a round)")
        };
        self.0.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}

/// Over the second half.
fn median_growth(looks: &[u64]) -> i64 {
    let looks = &looks[looks.len() / 2..];
    let mut growth: Vec<_> =
        looks.windows(2).map(|pair| pair[1].cast_signed() - pair[0].cast_signed()).collect();
    growth.sort_unstable();
    growth.get(growth.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lump_is_no_growth_and_a_leak_is() {
        assert_eq!(median_growth(&[1, 2, 3, 4, 5, 100, 100, 5000, 5000, 4000, 4000]), 0);
        assert_eq!(median_growth(&[1, 2, 3, 4, 100, 110, 5120, 5130, 5140]), 10);
        assert_eq!(median_growth(&[7]), 0);
        let memory = Memory([("a".to_owned(), vec![0, 10, 20, 30])].into());
        assert!(memory.grows_at_most(10).is_ok() && memory.grows_at_most(9).is_err());
    }
}
