//! Checks the length of files.

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
    let mut files = Vec::new();
    walk(host::root(), &mut files)?;
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

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let (kind, path, name) = (entry.file_type()?, entry.path(), entry.file_name());
        // Cargo marks its target folders, whatever they are called.
        let is_skipped =
            SKIPPED.iter().any(|skipped| name == *skipped) || path.join("CACHEDIR.TAG").is_file();
        if kind.is_dir() && !is_skipped {
            walk(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|e| CODE.iter().any(|code| e == *code)) {
            files.push(path);
        }
    }
    Ok(())
}
