//! Finds the processes of a pod by their cgroups.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::cgroup_path::pod_uid;

/// Looking through all processes takes a while: it is done at most for this part of the time, whatever the number of
/// pods that are looked for.
const PAUSE_PER_SEARCH: u32 = 20;
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// The processes of one pod that are kept, the oldest ones.
const MAX_PER_POD: usize = 16;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    /// When it was started, in clock ticks since the machine was.
    started: u64,
    pub(super) pid: u32,
}

/// The processes of all pods, by the pods' uids.
type ByPod = HashMap<String, Vec<Process>>;

/// Looks through a folder `/proc`.
#[derive(Debug)]
pub(super) struct Processes {
    proc: PathBuf,
    last: Mutex<Option<(Instant, Duration, Arc<ByPod>)>>,
}

impl Processes {
    pub(super) fn new(proc: PathBuf) -> Self {
        Self { proc, last: Mutex::default() }
    }

    /// The pod's processes, the oldest first: usually the one that holds the sandbox.
    pub(super) fn of_pod(&self, uid: &str) -> Vec<Process> {
        let mut last = self.last.lock();
        let by_pod = match &*last {
            Some((at, took, by_pod)) if at.elapsed() < (*took * PAUSE_PER_SEARCH).max(MIN_PAUSE) => {
                by_pod.clone()
            }
            _ => {
                let started = Instant::now();
                let by_pod = Arc::new(search(&self.proc));
                *last = Some((Instant::now(), started.elapsed(), by_pod.clone()));
                by_pod
            }
        };
        by_pod.get(uid).cloned().unwrap_or_default()
    }

    /// Where the network namespace of a process is.
    pub(super) fn netns(&self, process: &Process) -> PathBuf {
        self.proc.join(process.pid.to_string()).join("ns/net")
    }

    /// The name of the program that a process runs.
    pub(super) fn program(&self, pid: u32) -> Option<String> {
        let link = fs::read_link(self.proc.join(pid.to_string()).join("exe")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }
}

fn search(proc: &Path) -> ByPod {
    let mut by_pod = ByPod::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Processes may end at any moment.
        let Ok(cgroup) = fs::read_to_string(entry.path().join("cgroup")) else { continue };
        let Some(uid) = pod_uid(&cgroup) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        by_pod.entry(uid).or_default().push(Process { started: start_time(&stat).unwrap_or(u64::MAX), pid });
    }
    for processes in by_pod.values_mut() {
        processes.sort();
        processes.truncate(MAX_PER_POD);
    }
    by_pod
}

/// The 22nd field of `/proc/PID/stat`. The second one is the program's name in parentheses and may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// A path in one of `folders` at which the namespace with this inode is mounted. It outlives the pod's processes.
pub(super) fn mounted_at(folders: &[PathBuf], inode: u64) -> Option<PathBuf> {
    let paths = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    paths.map(|entry| entry.path()).find(|path| fs::metadata(path).is_ok_and(|file| file.ino() == inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "2f6d1c53-8a0e-4e5b-9d3c-0123456789ab";

    fn process(proc: &Path, pid: u32, started: u64, cgroup: &str) {
        let folder = proc.join(pid.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("cgroup"), cgroup).unwrap();
        let stat = format!("{pid} (a) b (c)) S 1 {} {started} 0 0", ["0"; 17].join(" "));
        fs::write(folder.join("stat"), stat).unwrap();
    }

    #[test]
    fn the_processes_of_a_pod_are_found_the_oldest_first() {
        let proc = tempfile::tempdir().unwrap();
        process(proc.path(), 300, 900, &format!("0::/kubepods/pod{UID}/app"));
        process(proc.path(), 400, 200, &format!("0::/kubepods/pod{UID}/pause"));
        process(proc.path(), 500, 100, "0::/system.slice/containerd.service");
        fs::create_dir(proc.path().join("self")).unwrap();
        let processes = Processes::new(proc.path().to_owned());
        let pids: Vec<_> = processes.of_pod(UID).iter().map(|process| process.pid).collect();
        assert_eq!(pids, [400, 300]);
        assert_eq!(processes.netns(&processes.of_pod(UID)[0]), proc.path().join("400/ns/net"));
        assert!(processes.of_pod("another").is_empty());
    }

    #[test]
    fn a_namespace_is_found_where_it_is_mounted() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("other"), "").unwrap();
        fs::write(folder.path().join("cni-1"), "").unwrap();
        let inode = fs::metadata(folder.path().join("cni-1")).unwrap().ino();
        let folders = [folder.path().join("missing"), folder.path().to_owned()];
        assert_eq!(mounted_at(&folders, inode), Some(folder.path().join("cni-1")));
        assert_eq!(mounted_at(&folders, 1), None);
    }
}
