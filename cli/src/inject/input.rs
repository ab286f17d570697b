//! Reads manifests from files, folders and stdin.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::stream::Stream;

/// Larger files are refused.
const MAX_BYTES: u64 = 256 << 20;

/// The manifests that the arguments name, each with the name to show in errors.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Stream>> {
    let mut streams = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        if name == "-" {
            let text = io::read_to_string(io::stdin().lock()).context("cannot read stdin")?;
            if text.trim().is_empty() {
                bail!(
                    "stdin is empty; pipe manifests into it, as in `kubectl get deploy -o yaml | weft inject -`"
                );
            }
            streams.push(Stream::new(text).context("stdin")?);
        } else if name.starts_with("http://") || name.starts_with("https://") {
            bail!("{name}: URLs are not read; run `curl -fsSL {name} | weft inject - `");
        } else {
            for file in files(path)? {
                let name = file.display().to_string();
                let text = text(&file).with_context(|| format!("cannot read {name}"))?;
                streams.push(Stream::new(text).context(name)?);
            }
        }
    }
    Ok(streams)
}

fn text(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_BYTES >> 20)));
    }
    fs::read_to_string(path)
}

/// The file itself, or all manifests in the folder and those below it.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<_> = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>())
        .with_context(|| format!("cannot read the folder {}", path.display()))?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        let manifest =
            entry.extension().is_some_and(|ext| ["yaml", "yml", "json"].iter().any(|known| ext == *known));
        // Links to folders could go round in circles.
        if entry.is_dir() && !entry.is_symlink() {
            files.extend(self::files(&entry)?);
        } else if manifest {
            files.push(entry);
        }
    }
    Ok(files)
}
