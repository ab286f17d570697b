//! What does a mesh hold of the machine, so that two looks at it can be compared?
//!
//! Everything that connections and pods could leave behind and that can be counted exactly: descriptors, threads,
//! mounts, entries of eBPF maps, sockets. For memory, which cannot, there is [`Memory`].

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
pub use self::{full::Full, memory::Memory, memory::frugal, process::memory as memory_of};
use crate::{mesh::Mesh, wait};

/// Counts by what is counted, for example `node a: entries of ORIGINAL_DST_BY_TUPLE`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holdings(BTreeMap<String, u64>);

impl Holdings {
    /// What the mesh holds now.
    pub fn of(mesh: &Mesh) -> Result<Self> {
        let mut all = Self::default();
        let folder = mesh.folder()?;
        for (name, pid) in mesh.processes()? {
            all.add(&name, process::holdings(pid, &folder)?);
        }
        for proxy in mesh.proxies() {
            let node = format!("node {}", proxy.node());
            all.add(&node, kernel(&mesh.pins(proxy.node())?, proxy.pid()?)?);
            all.add(&node, mesh.node(proxy.node()).run(interfaces)??);
            let metrics = proxy.metrics()?;
            all.add(&format!("{proxy}"), [(SERIES.to_owned(), metrics.len() as u64)]);
            all.add(&format!("{proxy}"), OPEN.map(|name| (name.to_owned(), metrics.value(name, &[]) as u64)));
        }
        for name in mesh.pod_names() {
            all.add(&format!("pod {name}"), mesh.pod(&name).netns().run(sockets)??);
        }
        let series = mesh.control().metrics()?.len() as u64;
        all.add("control", [(SERIES.to_owned(), series)]);
        Ok(all)
    }

    /// What the mesh holds once that has not changed for a while.
    pub fn settled(mesh: &Mesh) -> Result<Self> {
        let mut last = Self::of(mesh)?;
        let mut since = Instant::now();
        wait::until_ok("what the mesh holds settles", || {
            let now = Self::of(mesh)?;
            if now != last {
                since = Instant::now();
                last = now;
            }
            ensure!(since.elapsed() > QUIET, "still changing");
            Ok(())
        })?;
        Ok(last)
    }

    /// What there may be if something that is counted under `what` has become more, and rightly so.
    pub fn and(mut self, what: &str, more: u64) -> Self {
        self.0.iter_mut().filter(|(name, _)| name.ends_with(what)).for_each(|(_, count)| *count += more);
        self
    }

    fn nothing_more(&self, before: &Self) -> Result<()> {
        let most = |what: &String| {
            let spare = if what.ends_with(SERIES) {
                RARE_SERIES
            } else if what.ends_with(THREADS) {
                SPARE_THREADS
            } else {
                0
            };
            before.0.get(what).copied().unwrap_or_default() + spare
        };
        let more: Vec<_> = self
            .0
            .iter()
            .filter(|(what, now)| **now > most(what))
            .map(|(what, now)| format!("{what}: at most {} expected, {now} now", most(what)))
            .collect();
        ensure!(more.is_empty(), "{}", more.join("; "));
        Ok(())
    }

    /// Waits until there is nothing more than there was in `before`, but for `exempt`.
    pub fn until_nothing_more(mesh: &Mesh, before: &Self, limit: Duration, exempt: &[&str]) -> Result<()> {
        wait::until_ok_for(limit, "nothing is left behind", || {
            // To look is work, which also needs something.
            thread::sleep(Duration::from_secs(1));
            for proxy in mesh.proxies() {
                ensure!(proxy.draining()? == 0, "an old process of {proxy} still runs");
            }
            let mut now = Self::of(mesh)?;
            now.0.retain(|what, _| !exempt.iter().any(|exempt| what.ends_with(exempt)));
            now.nothing_more(before)
        })
    }

    fn add(&mut self, whose: &str, counts: impl IntoIterator<Item = (String, u64)>) {
        for (what, count) in counts {
            *self.0.entry(format!("{whose}: {what}")).or_default() += count;
        }
    }
}

/// Gauges of what is in use, which must agree with what there is.
const OPEN: [&str; 5] = [
    "tcp_open_connections",
    "weft_connections_open",
    "weft_direct_connections_open",
    "weft_splice_open",
    "weft_splice_flows",
];

/// How many series of metrics there are.
pub const SERIES: &str = "series of metrics";
/// What ends in a way that nothing ended in before has a series of its own, and there are only so many ways.
const RARE_SERIES: u64 = 20;

/// Threads for blocking work come as they are needed, on a busy machine one for each of the pods that join at a time,
/// and periodic work keeps those that are there awake. A leak would be one for each of a thousand pods.
const SPARE_THREADS: u64 = 40;

/// So long nothing changes once it has settled.
const QUIET: Duration = Duration::from_secs(2);

/// The entries of the maps that are pinned below `folder` or held by the process, and how many links are pinned.
fn kernel(folder: &Path, pid: u32) -> Result<Vec<(String, u64)>> {
    let (maps, links) = maps(folder, pid)?;
    let mut found = vec![("pinned links".to_owned(), links)];
    for map in maps.values() {
        let entries = map.entries().with_context(|| format!("map {}", map.name))?;
        found.extend(entries.map(|entries| (format!("entries of {}", map.name), entries)));
    }
    Ok(found)
}

/// Those maps, and how many links there are.
fn maps(folder: &Path, pid: u32) -> Result<(BTreeMap<u32, Map>, u64)> {
    let (mut links, mut maps) = (0, BTreeMap::new());
    let held = process::maps(pid)?.into_iter().map(Map::numbered);
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

/// TCP sockets of the namespace that the thread is in, but for those in TIME_WAIT, which the kernel ends in its time.
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
