//! Finds the files of the checkout that people wrote, and checks their length.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::host;

const MAX_LINES: usize = 400;
/// Folders with files that nobody wrote.
const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "generated"];
const CODE: [&str; 6] = ["rs", "proto", "sh", "py", "c", "h"];

pub(super) fn check() -> Result<()> {
    let files = with_extensions(&CODE)?;
    let mut complaints = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let lines = text.lines().count();
        if lines > MAX_LINES {
            let name = file.strip_prefix(host::root()).unwrap_or(file);
            complaints.push(format!("{}: {lines} lines, more than {MAX_LINES}", name.display()));
        }
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    println!("    {} files", files.len());
    Ok(())
}

/// All files with one of these extensions.
pub(super) fn with_extensions(extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    walk(host::root(), extensions, &mut files)?;
    Ok(files)
}

fn walk(folder: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let (kind, path, name) = (entry.file_type()?, entry.path(), entry.file_name());
        // Cargo marks its target folders, whatever they are called.
        let is_skipped =
            SKIPPED.iter().any(|skipped| name == *skipped) || path.join("CACHEDIR.TAG").is_file();
        if kind.is_dir() && !is_skipped {
            walk(&path, extensions, files)?;
        } else if kind.is_file()
            && path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
        {
            files.push(path);
        }
    }
    Ok(())
}
