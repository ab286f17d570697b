//! Stops a cluster and removes everything of it: processes, cgroups, namespaces, links, mounts, files.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};

use crate::{cgroups, layout::Layout, lock, network, say::say};

pub(crate) fn down(layout: &Layout) -> Result<()> {
    let lock = lock::take(layout)?;
    let was_there = layout.root.exists();
    remove(layout)?;
    // Under the lock, so that another process that waits for it makes the file anew.
    ignore_missing(fs::remove_file(layout.lock()))?;
    drop(lock);
    // Fails, as it should, while there are other clusters.
    let _ = layout.lock().parent().map(fs::remove_dir);
    let name = &layout.name;
    if was_there {
        say(format_args!("The cluster {name} is stopped and removed."));
    } else {
        say(format_args!("There is no cluster {name}."));
    }
    Ok(())
}

/// The mounts of nodes go with their processes. Works for a cluster of which only parts are left.
pub(crate) fn remove(layout: &Layout) -> Result<()> {
    cgroups::remove(layout).context("processes and cgroups")?;
    network::remove(layout).context("the network")?;
    for mounted in mounts_below(&layout.root)?.iter().rev() {
        umount2(mounted.as_str(), MntFlags::MNT_DETACH).with_context(|| format!("umount {mounted}"))?;
    }
    ignore_missing(fs::remove_dir_all(&layout.root)).with_context(|| layout.root.display().to_string())
}

/// The mount points below a folder, parents first.
fn mounts_below(folder: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.filter(|point| Path::new(point).starts_with(folder)).map(str::to_owned).collect())
}

fn ignore_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
