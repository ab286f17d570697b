//! What does a process hold?

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub(super) const THREADS: &str = "threads";

/// Its descriptors by kind, its threads, and the mounts that it sees.
pub(super) fn holdings(pid: u32) -> Result<BTreeMap<String, u64>> {
    let of = PathBuf::from(format!("/proc/{pid}"));
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(of.join("fd")).with_context(|| of.display().to_string())? {
        match fs::read_link(entry?.path()) {
            Ok(target) => *counts.entry(format!("descriptors of {}", kind(&target))).or_default() += 1,
            // Closed since.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
    }
    counts.insert(THREADS.to_owned(), fs::read_dir(of.join("task"))?.count() as u64);
    counts.insert("mounts".to_owned(), fs::read_to_string(of.join("mountinfo"))?.lines().count() as u64);
    Ok(counts)
}

/// The resident memory of a process, in bytes.
pub fn memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes << 10)
}

/// `socket:[1234]` is a socket, `anon_inode:[eventpoll]` what it says, and anything else a file.
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
    fn the_own_process_is_known() {
        let own = holdings(std::process::id()).unwrap();
        assert!(own[THREADS] >= 1 && own["mounts"] >= 1);
        assert!(memory(std::process::id()).unwrap() > 1 << 20);
    }
}
