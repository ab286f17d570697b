//! The folder of programs and images, which several commands may want to fill at the same time.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{images, programs};
use crate::host;

/// Where all versions are.
pub(super) fn base() -> Result<PathBuf> {
    let home = env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/weft/kubernetes"))
}

/// Its name says what is in it: a change of a version, a flag or a source makes a new one.
pub(super) fn folder() -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    programs::describe().hash(&mut hasher);
    let sources = programs::SOURCES.iter().chain(&images::SOURCES);
    for source in sources {
        let path = host::root().join(source);
        fs::read(&path).with_context(|| path.display().to_string())?.hash(&mut hasher);
    }
    Ok(base()?.join(format!("{}-{:016x}", programs::KUBERNETES, hasher.finish())))
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
    Ok(file)
}
