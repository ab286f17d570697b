//! Fetches a distribution's kernel, and picks the files that a machine needs.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};

use super::{
    apt::{Apt, Archive},
    module::{self, Module},
};

/// After that time a newer kernel is looked for.
const FRESH: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) struct Found {
    /// Its version, as uname gives it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// In the order in which they have to be loaded.
    pub(super) modules: Vec<Module>,
}

/// Fetches the newest kernel of a suite into `folder` unless a recent one is there.
pub(super) fn ensure(archive: &Archive, suite: &'static str, folder: &Path) -> Result<()> {
    let kept = folder.join("root");
    if is_fresh(&kept) {
        return Ok(());
    }
    match fetch(archive, suite, folder) {
        // The old one is better than none.
        Err(error) if kept.is_dir() => {
            println!("    using the old kernel of {suite}: {error:#}");
            Ok(())
        }
        result => result,
    }
}

fn is_fresh(kept: &Path) -> bool {
    let made = fs::metadata(kept).and_then(|data| data.modified());
    made.is_ok_and(|made| SystemTime::now().duration_since(made).is_ok_and(|age| age < FRESH))
}

/// Packages have times of their own.
fn stamp(folder: &Path) -> io::Result<()> {
    File::open(folder)?.set_modified(SystemTime::now())
}

fn fetch(archive: &Archive, suite: &'static str, folder: &Path) -> Result<()> {
    let apt = Apt::new(archive, suite, folder.join("apt"))?;
    let (draft, kept) = (folder.join("draft"), folder.join("root"));
    apt.unpack(&apt.closure(archive.meta)?, &draft)?;
    stamp(&draft)?;
    // Renamed in one step, so that an interrupted run leaves nothing that looks complete.
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    Ok(fs::rename(&draft, &kept)?)
}

/// The kernel in `folder`.
pub(super) fn kept(folder: &Path) -> Result<Found> {
    let root = folder.join("root");
    // Since trixie's time below /usr.
    let folders = ["usr/lib/modules", "lib/modules"].map(|folder| root.join(folder));
    let folders = folders.iter().filter_map(|folder| fs::read_dir(folder).ok());
    let mut releases = folders.flatten().flatten().map(|entry| entry.path());
    let modules = releases.next().with_context(|| format!("no modules in {}", root.display()))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let images = [root.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let Some(image) = images.into_iter().find(|image| image.is_file()) else {
        bail!("no kernel of {release} in {}", root.display());
    };
    Ok(Found { modules: module::ordered(&modules)?, release, image })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_fresh_from_when_it_was_fetched() {
        let folder = std::env::temp_dir().join(format!("weft-xtask-{}", std::process::id()));
        fs::create_dir(&folder).expect("a folder");
        let old = SystemTime::now() - 2 * FRESH;
        File::open(&folder).and_then(|folder| folder.set_modified(old)).expect("a time");
        let before = is_fresh(&folder);
        stamp(&folder).expect("a time");
        let after = is_fresh(&folder);
        fs::remove_dir(&folder).expect("an empty folder");
        assert_eq!((before, after, is_fresh(&folder)), (false, true, false));
    }
}
