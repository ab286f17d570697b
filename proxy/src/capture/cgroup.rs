//! Finds or makes the cgroup by which the kernel recognises the proxy's own connections.
//!
//! By the cgroup of the connecting task. So the proxy must be alone in one, and that one must lie under the
//! cgroup to which the programs are attached, or they would not see the proxy's sockets at all.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::CaptureError;

/// The id of the cgroup that only the proxy is in; makes one under `attached` if need be. `known`: whether an
/// id is that of a proxy already (a predecessor is there).
pub(super) fn own(attached: &Path, node: &str, known: impl Fn(u64) -> bool) -> Result<u64, CaptureError> {
    let root = mount_point(attached)?;
    let present = present(&root)?;
    let under = present.starts_with(attached) && present != attached;
    if under && (known(id(&present)?) || alone(&present)?) {
        return id(&present);
    }
    let made = attached.join(format!("weft-proxy-{node}"));
    if !made.exists() {
        fs::create_dir(&made).map_err(CaptureError::path("make cgroup", &made))?;
    }
    let procs = made.join("cgroup.procs");
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
    let mut ids = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        ids.extend(id(&folder));
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(below.map(|entry| entry.path()));
    }
    ids
}

fn alone(cgroup: &Path) -> Result<bool, CaptureError> {
    let procs = cgroup.join("cgroup.procs");
    let text = fs::read_to_string(&procs).map_err(CaptureError::path("read", &procs))?;
    let me = std::process::id().to_string();
    Ok(text.lines().all(|pid| pid == me))
}

/// Where this process is in the cgroup v2 hierarchy mounted at `root`.
fn present(root: &Path) -> Result<PathBuf, CaptureError> {
    let text =
        fs::read_to_string("/proc/self/cgroup").map_err(CaptureError::path("read", "/proc/self/cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    Ok(root.join(path.trim_start_matches('/')))
}

/// The cgroup v2 mount that `path` lies in.
fn mount_point(path: &Path) -> Result<PathBuf, CaptureError> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").map_err(CaptureError::path("read", "/proc/self/mounts"))?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup2" && path.starts_with(target)).then(|| PathBuf::from(target))
        })
        .max_by_key(|target| target.as_os_str().len())
        .ok_or_else(|| {
            CaptureError::Cgroup(format!(
                "{} is not in a cgroup v2 hierarchy; mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
                path.display()
            ))
        })
}

/// The cgroup to attach to if none was given: that of all pods where there is one, else the root.
pub fn default_attach_point() -> PathBuf {
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let root = Path::new(root);
        if root.join("cgroup.procs").exists() && root.join("cgroup.controllers").exists() {
            return ["kubepods", "kubepods.slice"]
                .iter()
                .map(|name| root.join(name))
                .find(|path| path.is_dir())
                .unwrap_or_else(|| root.to_owned());
        }
    }
    PathBuf::from("/sys/fs/cgroup")
}
