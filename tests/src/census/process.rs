//! The resources of one process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub(super) const THREADS: &str = "threads";

/// Its descriptors by kind, its threads, and the mounts below `folder` that it sees: others belong to other clusters.
pub(super) fn resources(pid: u32, folder: &Path) -> Result<BTreeMap<String, u64>> {
    let of = PathBuf::from(format!("/proc/{pid}"));
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(of.join("fd")).with_context(|| of.display().to_string())? {
        match fs::read_link(entry?.path()) {
            Ok(target) => *counts.entry(format!("descriptors of {}", kind(&target))).or_default() += 1,
            // Closed in the meantime.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
    }
    counts.insert(THREADS.to_owned(), fs::read_dir(of.join("task"))?.count() as u64);
    counts.insert("mounts".to_owned(), mounts(&fs::read_to_string(of.join("mountinfo"))?, folder));
    Ok(counts)
}

fn mounts(table: &str, folder: &Path) -> u64 {
    let places = table.lines().filter_map(|line| line.split_whitespace().nth(4));
    places.filter(|place| Path::new(place).starts_with(folder)).count() as u64
}

/// The ids of the eBPF maps that it has open.
pub(super) fn maps(pid: u32) -> Result<BTreeSet<u32>> {
    let of = PathBuf::from(format!("/proc/{pid}/fdinfo"));
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(&of).with_context(|| of.display().to_string())? {
        // Closed in the meantime, so it is not a map: those stay open.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let number = text.lines().find_map(|line| line.strip_prefix("map_id:"));
        numbers.extend(number.and_then(|number| number.trim().parse::<u32>().ok()));
    }
    Ok(numbers)
}

/// The resident memory of a process, in bytes.
pub fn memory(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// Resident memory that is neither file-backed nor shared: heap and stacks.
pub(super) fn anonymous_memory(pid: u32) -> Result<u64> {
    status(pid, "RssAnon:")
}

fn status(pid: u32, field: &'static str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context(field)?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes << 10)
}

/// `socket:[1234]` is a socket, `anon_inode:[eventpoll]` an eventpoll, anything else a file.
fn kind(target: &Path) -> String {
    let target = target.to_string_lossy();
    match target.split_once(':') {
        Some(("anon_inode", what)) => what.trim_matches(['[', ']']).to_owned(),
        Some((what, _)) if !what.contains('/') => what.to_owned(),
        _ => "files".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_have_kinds() {
        for (target, expected) in [
            ("socket:[17]", "socket"),
            ("anon_inode:[eventpoll]", "eventpoll"),
            ("anon_inode:bpf-map", "bpf-map"),
            ("net:[402653]", "net"),
            ("/var/log/a:b", "files"),
        ] {
            assert_eq!(kind(Path::new(target)), expected);
        }
    }

    #[test]
    fn the_resources_of_this_process_are_counted() {
        let pid = std::process::id();
        let own = resources(pid, Path::new("/")).unwrap();
        assert!(own[THREADS] >= 1 && own["mounts"] >= 1);
        let (all, anonymous) = (memory(pid).unwrap(), anonymous_memory(pid).unwrap());
        assert!(all > anonymous && anonymous > 1 << 10);
    }

    #[test]
    fn mounts_of_other_clusters_do_not_count() {
        let table = "36 35 98:0 / /run/weft/t1/netns/a rw - nsfs nsfs rw\n\
                     37 35 98:0 / /run/weft/t10/netns/a rw - nsfs nsfs rw\n";
        assert_eq!(mounts(table, Path::new("/run/weft/t1")), 1);
    }
}
