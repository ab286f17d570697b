//! Finds the manifest files of a folder.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::problem::Problem;

const MAX_DEPTH: usize = 16;

/// All manifest files below `root`, sorted; folders that cannot be read become problems.
pub(super) fn manifests(root: &Path) -> (Vec<PathBuf>, Vec<Problem>) {
    let (mut files, mut problems, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    walk(root, 0, &mut files, &mut problems, &mut seen);
    files.sort();
    (files, problems)
}

fn walk(
    folder: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    problems: &mut Vec<Problem>,
    seen: &mut BTreeSet<PathBuf>,
) {
    let failed = |error: io::Error| {
        let advice = "make the folder readable; until then what was read from it before applies";
        Problem::of_file(folder, format!("cannot be read: {error}"), advice)
    };
    // A link to a folder that has already been visited would be read twice, or for ever.
    match fs::canonicalize(folder) {
        Ok(real) => {
            if !seen.insert(real) {
                return;
            }
        }
        Err(error) => return problems.push(failed(error)),
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return problems.push(failed(error)),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() && depth < MAX_DEPTH => walk(&path, depth + 1, files, problems, seen),
            Ok(meta) if meta.is_file() && is_manifest(&path) => files.push(path),
            _ => {}
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// Temporary files of editors, `.git`, and the `..data` of a mounted ConfigMap.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(['.', '#']) || name.ends_with('~')
}
