//! Finds or makes the cgroup by which the kernel recognizes the proxy's own connections.
//!
//! By the cgroup of the connecting task. So the proxy must be alone in one, and that one must lie under the
//! cgroup to which the programs are attached, or they would not see the proxy's sockets at all.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::CaptureError;

const PROCESSES: &str = "cgroup.procs";

/// The id of the cgroup that only the proxy is in; makes one under `attached` if need be. `known`: whether an
/// id is that of a proxy already (a predecessor is there).
pub(super) fn own(attached: &Path, node: &str, known: impl Fn(u64) -> bool) -> Result<u64, CaptureError> {
    let root = mount_point(attached)?;
    if let Some(present) = present(&root, attached)?
        && (known(id(&present)?) || alone(&present)?)
    {
        return id(&present);
    }
    let made = attached.join(format!("weft-proxy-{node}"));
    if !made.exists() {
        fs::create_dir(&made).map_err(CaptureError::path("make cgroup", &made))?;
    }
    let procs = made.join(PROCESSES);
    fs::write(&procs, std::process::id().to_string())
        .map_err(CaptureError::path("move the proxy to its own cgroup", &procs))?;
    id(&made)
}

/// A cgroup's id is the inode of its folder (kernfs_node id, 64 bits, not used again).
fn id(cgroup: &Path) -> Result<u64, CaptureError> {
    Ok(fs::metadata(cgroup).map_err(CaptureError::path("stat cgroup", cgroup))?.ino())
}

/// The ids of all cgroups under `root`.
pub(super) fn ids(root: &Path) -> Vec<u64> {
    below(root).iter().filter_map(|cgroup| id(cgroup).ok()).collect()
}

/// `root` and all cgroups below it.
fn below(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next) {
        next += 1;
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        found.extend(below.map(|entry| entry.path()).collect::<Vec<_>>());
    }
    found
}

fn alone(cgroup: &Path) -> Result<bool, CaptureError> {
    let procs = cgroup.join(PROCESSES);
    let text = fs::read_to_string(&procs).map_err(CaptureError::path("read", &procs))?;
    let me = std::process::id().to_string();
    Ok(text.lines().all(|pid| pid == me))
}

/// Where this process is below `attached`, in the cgroup v2 hierarchy mounted at `root`.
fn present(root: &Path, attached: &Path) -> Result<Option<PathBuf>, CaptureError> {
    let text =
        fs::read_to_string("/proc/self/cgroup").map_err(CaptureError::path("read", "/proc/self/cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let here = root.join(path.trim_start_matches('/'));
    if here.starts_with(attached) && here != attached && holds_this_process(&here) {
        return Ok(Some(here));
    }
    // In a container, the path may be that within a cgroup namespace, of which the hierarchy here knows nothing.
    Ok(below(attached)
        .into_iter()
        .filter(|cgroup| cgroup != attached)
        .find(|cgroup| holds_this_process(cgroup)))
}

fn holds_this_process(cgroup: &Path) -> bool {
    let me = std::process::id().to_string();
    fs::read_to_string(cgroup.join(PROCESSES)).is_ok_and(|text| text.lines().any(|pid| pid == me))
}

/// The cgroup v2 mount that `path` lies in.
fn mount_point(path: &Path) -> Result<PathBuf, CaptureError> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").map_err(CaptureError::path("read", "/proc/self/mounts"))?;
    hierarchies(&mounts)
        .into_iter()
        .filter(|target| path.starts_with(target))
        .max_by_key(|target| target.as_os_str().len())
        .ok_or_else(|| {
            CaptureError::Cgroup(format!(
                "{} is not in a cgroup v2 hierarchy; mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
                path.display()
            ))
        })
}

/// Where cgroup v2 is mounted.
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let target = |line: &str| {
        let mut fields = line.split(' ');
        let (_, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(target))
    };
    mounts.lines().filter_map(target).collect()
}

/// The cgroup to attach to if none was given: the root, below which are the pods and also the kubelet, whose probes the
/// programs must see. Beside v1, the usual place is `/sys/fs/cgroup/unified`.
pub fn default_attach_point() -> PathBuf {
    let usual = PathBuf::from("/sys/fs/cgroup");
    let found = hierarchies(&fs::read_to_string("/proc/self/mounts").unwrap_or_default());
    found.iter().find(|target| target.starts_with(&usual)).or(found.first()).cloned().unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_beside_v1() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(hierarchies(hybrid), [PathBuf::from("/sys/fs/cgroup/unified")]);
        assert_eq!(
            hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0"),
            [PathBuf::from("/sys/fs/cgroup")]
        );
        assert!(hierarchies("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\nnonsense\n").is_empty());
    }

    #[test]
    fn this_process_is_found_in_the_hierarchy_although_its_path_says_nothing() {
        let root = default_attach_point();
        let Some(home) = below(&root).into_iter().find(|cgroup| holds_this_process(cgroup)) else { return };
        // The root does not count: it holds others too.
        let expected = (home != root).then_some(home);
        assert_eq!(present(&root, &root).unwrap(), expected);
    }
}
