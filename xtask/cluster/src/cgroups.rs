//! The cgroups of a cluster, in every hierarchy of the machine.
//!
//! A machine has cgroup v2 alone, or v1 hierarchies with v2 beside them (`/sys/fs/cgroup/unified`). A cluster's
//! processes are in `weft-kubernetes-NAME/control` and `weft-kubernetes-NAME/NODE` of all of them, so that its end can
//! find each of them.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use weft_vm::cgroup::{self, Cgroup};

use crate::layout::Layout;

/// How long the kernel may take to forget dead processes.
const REMOVAL: Duration = Duration::from_secs(10);

/// The mount points of all hierarchies: v1's, and v2's last.
pub(crate) fn hierarchies() -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = mounts("cgroup").into_iter().map(|(at, _)| at).collect();
    found.push(cgroup::root()?);
    Ok(found)
}

/// The v1 hierarchies and the mount options that name them, for example `cpu` or `none,name=systemd`.
pub(crate) fn v1() -> Vec<(PathBuf, String)> {
    let named = |options: &str| {
        let words = options.split(',').filter(|word| CONTROLLERS.contains(word));
        let mut kept: Vec<&str> = words.collect();
        if let Some(name) = options.split(',').find(|word| word.starts_with("name=")) {
            kept.extend(["none", name]);
        }
        kept.join(",")
    };
    mounts("cgroup").into_iter().map(|(at, options)| (at, named(&options))).collect()
}

/// v1's controllers, as mount options.
const CONTROLLERS: [&str; 13] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "net_cls",
    "net_prio",
    "perf_event",
    "hugetlb",
    "rdma",
];

fn mounts(kind: &str) -> Vec<(PathBuf, String)> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.len() > 3 && fields[2] == kind)
        .map(|fields| (PathBuf::from(fields[1]), fields[3].to_owned()))
        .collect()
}

/// Makes the cluster's cgroup `part` in every hierarchy.
pub(crate) fn create(layout: &Layout, part: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let parent = hierarchy.join(layout.cgroup());
        let child = parent.join(part);
        for folder in [&parent, &child] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            prepare(folder)?;
        }
    }
    Ok(())
}

/// Passes on what a new cgroup does not inherit: v1's cpuset is empty and takes no process; v2's controllers are off.
fn prepare(folder: &Path) -> Result<()> {
    let Some(parent) = folder.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = folder.join(file);
        if own.exists() && !folder.join("cgroup.controllers").exists() {
            let value = fs::read(parent.join(file))?;
            fs::write(&own, value).with_context(|| own.display().to_string())?;
        }
    }
    delegate(parent)
}

/// Turns all of v2's controllers on for the children of a cgroup.
pub(crate) fn delegate(folder: &Path) -> Result<()> {
    let control = folder.join("cgroup.subtree_control");
    for controller in
        fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default().split_whitespace()
    {
        fs::write(&control, format!("+{controller}"))
            .with_context(|| format!("{}: +{controller}", control.display()))?;
    }
    Ok(())
}

/// Moves this process into the cluster's cgroup `part`.
pub(crate) fn enter(layout: &Layout, part: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let file = hierarchy.join(layout.cgroup()).join(part).join("cgroup.procs");
        fs::write(&file, "0").with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Whether a process is in the cgroup `part` or below.
pub(crate) fn is_populated(layout: &Layout, part: &str) -> bool {
    cgroup::root().is_ok_and(|root| Cgroup::at(root.join(layout.cgroup()).join(part)).populated())
}

/// Kills what is in the cgroup `part` and waits for its end.
pub(crate) fn kill(layout: &Layout, part: &str) -> Result<()> {
    let group = Cgroup::at(cgroup::root()?.join(layout.cgroup()).join(part));
    let deadline = Instant::now() + REMOVAL;
    while group.populated() {
        group.kill();
        anyhow::ensure!(Instant::now() < deadline, "{part} does not end");
        group.wait_empty(Duration::from_millis(200));
    }
    Ok(())
}

/// Kills all of the cluster's processes and removes its cgroups.
pub(crate) fn remove(layout: &Layout) -> Result<()> {
    let hierarchies = hierarchies()?;
    // v2 first: it knows how to kill.
    for hierarchy in hierarchies.iter().rev() {
        Cgroup::at(hierarchy.join(layout.cgroup())).remove()?;
    }
    let deadline = Instant::now() + REMOVAL;
    for hierarchy in &hierarchies {
        while hierarchy.join(layout.cgroup()).exists() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
