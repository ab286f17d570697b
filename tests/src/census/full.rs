//! Fills an eBPF map, so that the kernel has no room for another entry.

use anyhow::{Context, Result, ensure};

use super::bpf::Map;
use crate::mesh::Mesh;

/// A map that is full of meaningless entries until this is dropped.
pub struct Full {
    map: Map,
    entries: u32,
}

impl Full {
    /// Fills a map of a node's proxy.
    pub fn of(mesh: &Mesh, node: &str, name: &str) -> Result<Self> {
        let (maps, _) = super::maps(&mesh.pins(node)?, mesh.proxy(node).pid()?)?;
        // The kernel keeps 15 characters of a name.
        let map = maps.into_values().find(|map| map.name == name.get(..15).unwrap_or(name));
        let map = map.with_context(|| format!("the proxy of node {node} has no map {name}"))?;
        let mut full = Self { map, entries: 0 };
        full.entries = full.map.fill().with_context(|| name.to_owned())?;
        ensure!(full.entries > 0, "{name} was already full");
        Ok(full)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        if let Err(error) = self.map.clear(self.entries) {
            eprintln!("{}: {error}", self.map.name);
        }
    }
}
