//! The lock of a cluster: starts and ends exclude each other.

use std::fs::{self, File};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::layout::Layout;

/// The kernel releases it with the process.
pub(crate) fn take(layout: &Layout) -> Result<Flock<File>> {
    let path = layout.lock();
    fs::create_dir_all(path.parent().context("no folder")?)?;
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).context("flock")
}
