//! The folder of programs and images, which several commands may want to fill at the same time.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};

use crate::host;

/// Where all versions are.
pub(super) fn base() -> Result<PathBuf> {
    let home = env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/weft/kubernetes"))
}

/// A hash of a text and of files of the checkout.
pub(super) fn fingerprint(text: &str, files: &[&str]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    for file in files {
        let path = host::root().join(file);
        fs::read(&path).with_context(|| path.display().to_string())?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Waits for another process that fills the folder. The lock ends with the process.
pub(super) fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        println!("    waiting for another process that builds them");
        file.lock().with_context(|| path.display().to_string())?;
    }
    file.set_modified(SystemTime::now())?;
    Ok(file)
}

/// Removes folders of other versions that no command has used for a while: each takes almost a GB.
pub(super) fn forget_others(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(base()?)? {
        let path = entry?.path();
        let used = fs::metadata(path.join("lock")).and_then(|lock| lock.modified());
        let is_old = used.is_ok_and(|used| used.elapsed().is_ok_and(|age| age > KEPT));
        if path != folder && is_old {
            println!("    removing {}, which nothing has used for days", path.display());
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
