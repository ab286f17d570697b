//! Counts the resources that a mesh uses, to find leaks by comparing two counts.
//!
//! Counted are descriptors, threads, mounts, entries of eBPF maps, sockets and series of metrics. Memory cannot be
//! counted exactly: [`Memory`] estimates its growth.

mod bpf;
mod btf;
mod full;
mod memory;
mod process;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use self::{bpf::Map, process::THREADS};
pub use self::{full::Full, memory::Memory, memory::low_memory, process::memory as memory_of};
use crate::{mesh::Mesh, metrics::Metrics, wait};

/// Counts by name, for example `node a: entries of ORIGINAL_DST_BY_TUPLE`.
#[derive(Clone, Debug, Default)]
pub struct ResourceCensus {
    counts: BTreeMap<String, u64>,
    /// The series behind the counts of series, by the same names.
    series: BTreeMap<String, Metrics>,
}

impl ResourceCensus {
    /// Counts now.
    pub fn of(mesh: &Mesh) -> Result<Self> {
        let mut all = Self::default();
        let folder = mesh.folder()?;
        for (name, pid) in mesh.processes()? {
            all.add(&name, process::resources(pid, &folder)?);
        }
        for proxy in mesh.proxies() {
            let node = format!("node {}", proxy.node());
            all.add(&node, kernel(&mesh.pins(proxy.node())?, proxy.pid()?)?);
            all.add(&node, mesh.node(proxy.node()).run(interfaces)??);
            let metrics = proxy.metrics()?;
            all.add(&format!("{proxy}"), OPEN.map(|name| (name.to_owned(), metrics.value(name, &[]) as u64)));
            all.add_series(&format!("{proxy}"), metrics);
        }
        for name in mesh.pod_names() {
            all.add(&format!("pod {name}"), mesh.pod(&name).netns().run(sockets)??);
        }
        all.add_series("control", mesh.control().metrics()?);
        Ok(all)
    }

    /// Counts once the counts have stopped changing.
    pub fn settled(mesh: &Mesh) -> Result<Self> {
        let mut last = Self::of(mesh)?;
        let mut since = Instant::now();
        wait::until_ok("the resources in use stop changing", || {
            let now = Self::of(mesh)?;
            if now.counts != last.counts {
                since = Instant::now();
                last = now;
            }
            ensure!(since.elapsed() > QUIET, "still changing");
            Ok(())
        })?;
        Ok(last)
    }

    /// Raises the counts whose names end with `what` by an increase that is expected.
    pub fn allowing(mut self, what: &str, more: u64) -> Self {
        self.counts.iter_mut().filter(|(name, _)| name.ends_with(what)).for_each(|(_, count)| *count += more);
        self
    }

    fn no_increase(&self, before: &Self) -> Result<()> {
        let limit = |what: &String| {
            let spare = if what.ends_with(SERIES) {
                RARE_SERIES
            } else if what.ends_with(THREADS) {
                SPARE_THREADS
            } else {
                0
            };
            before.counts.get(what).copied().unwrap_or_default() + spare
        };
        let more: Vec<_> = self
            .counts
            .iter()
            .filter(|(what, now)| **now > limit(what))
            .map(|(what, now)| {
                format!("{what}: {now}, at most {} expected{}", limit(what), self.added(before, what))
            })
            .collect();
        ensure!(more.is_empty(), "{}", more.join("; "));
        Ok(())
    }

    /// Waits until no count is above that in `before`, except those whose names end with one of `exempt`.
    pub fn until_no_increase(mesh: &Mesh, before: &Self, limit: Duration, exempt: &[&str]) -> Result<()> {
        wait::until_ok_for(limit, "nothing is left behind", || {
            // Counting uses resources itself.
            thread::sleep(Duration::from_secs(1));
            for proxy in mesh.proxies() {
                ensure!(proxy.draining()? == 0, "an old process of {proxy} still runs");
            }
            let mut now = Self::of(mesh)?;
            now.counts.retain(|what, _| !exempt.iter().any(|exempt| what.ends_with(exempt)));
            now.no_increase(before)
        })
    }

    /// Some of the series that are behind an increase.
    fn added(&self, before: &Self, what: &str) -> String {
        let (Some(now), Some(then)) = (self.series.get(what), before.series.get(what)) else {
            return String::new();
        };
        let added = now.added_since(then);
        format!("; added: {}", added[..added.len().min(SHOWN_SERIES)].join(", "))
    }

    fn add_series(&mut self, whose: &str, metrics: Metrics) {
        self.add(whose, [(SERIES.to_owned(), metrics.len() as u64)]);
        self.series.insert(format!("{whose}: {SERIES}"), metrics);
    }

    fn add(&mut self, whose: &str, counts: impl IntoIterator<Item = (String, u64)>) {
        for (what, count) in counts {
            *self.counts.entry(format!("{whose}: {what}")).or_default() += count;
        }
    }
}

/// Gauges of open connections.
const OPEN: [&str; 5] = [
    "tcp_open_connections",
    "weft_connections_open",
    "weft_direct_connections_open",
    "weft_splice_open",
    "weft_splice_flows",
];

pub const SERIES: &str = "series of metrics";
/// A connection that ends in a new way creates a series, and there are few such ways.
const RARE_SERIES: u64 = 20;
/// Added series that an error names.
const SHOWN_SERIES: usize = 40;

/// Threads for blocking work are started when needed, on a busy machine one for each pod that joins at the same time,
/// and periodic work keeps them alive. A leak would be one for each of a thousand pods.
const SPARE_THREADS: u64 = 40;

/// How long the counts must not have changed.
const QUIET: Duration = Duration::from_secs(2);

/// The entries of the maps that are pinned below `folder` or open in the process, and the number of pinned links.
fn kernel(folder: &Path, pid: u32) -> Result<Vec<(String, u64)>> {
    let (maps, links) = maps(folder, pid)?;
    let mut found = vec![("pinned links".to_owned(), links)];
    for map in maps.values() {
        let entries = map.entries().with_context(|| format!("map {}", map.name))?;
        found.extend(entries.map(|entries| (format!("entries of {}", map.name), entries)));
    }
    Ok(found)
}

/// Those maps, and the number of pinned links.
fn maps(folder: &Path, pid: u32) -> Result<(BTreeMap<u32, Map>, u64)> {
    let (mut links, mut maps) = (0, BTreeMap::new());
    let held = process::maps(pid)?.into_iter().map(Map::by_id);
    for map in held {
        let map = map?;
        maps.insert(map.number, map);
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                folders.push(path);
            } else if folder.ends_with("maps") {
                let map = Map::pinned(&path)?;
                maps.insert(map.number, map);
            } else {
                links += 1;
            }
        }
    }
    Ok((maps, links))
}

fn interfaces() -> Result<[(String, u64); 1]> {
    let devices = fs::read_to_string("/proc/thread-self/net/dev")?;
    Ok([("network interfaces".to_owned(), devices.lines().count() as u64)])
}

/// TCP sockets of the thread's namespace, except those in TIME_WAIT, which the kernel removes by itself.
fn sockets() -> Result<Vec<(String, u64)>> {
    const TIME_WAIT: &str = "06";
    let mut found = 0;
    for file in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/thread-self/net/{file}"))?;
        let states = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3));
        found += states.filter(|state| *state != TIME_WAIT).count() as u64;
    }
    Ok(vec![("TCP sockets".to_owned(), found)])
}
