//! Locks a cluster's directory, and removes what a dead owner left.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};

use crate::cgroup::{self, Cgroup};
use crate::error::{Error, Result};
use crate::layout::{BASE, Layout};
use crate::sandbox::mounts_below;

/// A younger directory without a lock is left alone: its owner may be about to lock it.
const UNLOCKED_AGE: Duration = Duration::from_secs(10);
/// Another process may hold the lock for a moment, while it cleans up.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// Owns a cluster's directory. The kernel releases it when the process dies.
pub(crate) type Lock = Flock<File>;

/// Makes the cluster's directory and takes its lock.
pub(crate) fn acquire(layout: &Layout) -> Result<Lock> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match try_acquire(layout, true)? {
            Some(lock) => return Ok(lock),
            None if Instant::now() > deadline => return Err(Error::Running(layout.id.clone())),
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Whether a running process owns the cluster.
pub fn is_running(layout: &Layout) -> bool {
    File::open(layout.lock())
        .is_ok_and(|file| matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EAGAIN))))
}

/// Cleans up after every cluster whose owner is dead; returns their names.
pub fn clean() -> Result<Vec<String>> {
    let mut cleaned = Vec::new();
    for id in names(Path::new(BASE)) {
        let Ok(layout) = Layout::new(&id) else { continue };
        if clean_one(&layout)? {
            cleaned.push(id);
        }
    }
    // Cgroups whose directory was removed already.
    let cgroups = cgroup::root()?.join("weft");
    for id in names(&cgroups) {
        let cgroup = cgroups.join(&id);
        if cgroup.is_dir() && !Path::new(BASE).join(&id).exists() {
            Cgroup::at(cgroup).remove()?;
            cleaned.push(id);
        }
    }
    Ok(cleaned)
}

/// Cleans up after the cluster if its owner is dead. False: it is alive, or there was nothing to do.
pub fn clean_one(layout: &Layout) -> Result<bool> {
    if !layout.lock().exists() {
        let young = fs::metadata(&layout.root)
            .and_then(|meta| meta.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age < UNLOCKED_AGE));
        if young || !layout.root.exists() {
            return Ok(false);
        }
    }
    match try_acquire(layout, false)? {
        Some(lock) => remove(layout, lock).map(|()| true),
        None => Ok(false),
    }
}

/// Like [`clean_one`], for an owner that is just dying: the kernel closes a process's files one by one, and the lock
/// may be the last.
pub fn clean_after(layout: &Layout) -> Result<()> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    while layout.root.exists() && !clean_one(layout)? && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Ends and removes everything of a cluster, its directory with the lock last.
pub(crate) fn remove(layout: &Layout, lock: Lock) -> Result<()> {
    let weft = cgroup::root()?.join("weft");
    Cgroup::at(weft.join(&layout.id)).remove()?;
    // Children first. An unmounted bpffs takes its links and maps with it.
    for mounted in mounts_below(&layout.root)?.into_iter().rev() {
        umount2(&mounted, MntFlags::MNT_DETACH)
            .map_err(Error::system(format!("umount {}", mounted.display())))?;
    }
    for entry in names(&layout.root).into_iter().filter(|name| name != "lock") {
        let path = layout.root.join(entry);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.or_else(ignore_missing).map_err(Error::io("remove", &path))?;
    }
    fs::remove_file(layout.lock()).or_else(ignore_missing).map_err(Error::io("remove", layout.lock()))?;
    fs::remove_dir(&layout.root).or_else(ignore_missing).map_err(Error::io("remove", &layout.root))?;
    drop(lock);
    // The common directories: this fails, as it should, while there are other clusters.
    let _ = fs::remove_dir(weft);
    let _ = fs::remove_dir(BASE);
    Ok(())
}

/// None: another process holds it.
fn try_acquire(layout: &Layout, create: bool) -> Result<Option<Lock>> {
    let path = layout.lock();
    loop {
        if create {
            fs::create_dir_all(&layout.root).map_err(Error::io("create", &layout.root))?;
        }
        let file = match OpenOptions::new().create(true).truncate(false).write(true).open(&path) {
            Ok(file) => file,
            // Another process has just cleaned up.
            Err(error) if error.kind() == ErrorKind::NotFound && create => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EAGAIN)) => return Ok(None),
            Err((_, errno)) => return Err(Error::system(format!("flock({})", path.display()))(errno)),
        };
        // The previous owner may have removed the file that is locked now.
        let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        if lock.metadata().and_then(|mine| Ok(same(mine, fs::metadata(&path)?))).unwrap_or(false) {
            return Ok(Some(lock));
        }
    }
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The names in a directory; none if there is no such directory.
fn names(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
