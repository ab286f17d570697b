//! Is a file too long, or unsafe where it must not be?

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::host;

const LONGEST: usize = 400;
/// What is made, not written.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];
/// Code, as opposed to lists and prose.
const CODE: [&str; 6] = ["rs", "proto", "sh", "py", "c", "h"];
/// Where the kernel is spoken to.
const UNSAFE: [&str; 5] = ["proxy/src/capture", "proxy-ebpf", "proxy-common", "xtask/vm", "tests"];

pub(super) fn check() -> Result<()> {
    let mut files = Vec::new();
    walk(host::root(), &mut files)?;
    let mut complaints = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(host::root()).unwrap_or(file);
        let lines = text.lines().count();
        if lines > LONGEST {
            complaints.push(format!("{}: {lines} lines, more than {LONGEST}", name.display()));
        }
        let allowed = UNSAFE.iter().any(|place| name.starts_with(place));
        if !allowed && name.extension().is_some_and(|extension| extension == "rs") {
            let places = unsafe_lines(&text);
            complaints.extend(places.iter().map(|line| format!("{}:{line}: unsafe code", name.display())));
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
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
            walk(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|e| CODE.iter().any(|code| e == *code)) {
            files.push(path);
        }
    }
    Ok(())
}

/// The lines with the keyword. The compiler's `forbid(unsafe_code)` is the proof; this is for the files of a crate
/// that has a place where it is allowed, so comments and one-line strings need no more than a glance.
fn unsafe_lines(text: &str) -> Vec<usize> {
    let lines = text.lines().enumerate();
    lines.filter(|(_, line)| has_keyword(&code(line))).map(|(number, _)| number + 1).collect()
}

/// A line without its strings and its comment.
fn code(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => drop(characters.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && characters.peek() == Some(&'/') => break,
            other if !in_string => code.push(other),
            _ => {}
        }
    }
    code
}

/// `unsafe { … }`, `unsafe fn`, `unsafe impl`; not `unsafe_code`, and not `#[unsafe(no_mangle)]` of an attribute.
fn has_keyword(code: &str) -> bool {
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.into_iter().any(|word| word == "unsafe") && !code.trim_start().starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_counts() {
        let text = [
            "#![forbid(unsafe_code)]",
            "// unsafe { }",
            "let s = \"unsafe { \\\" }\";",
            "let x = unsafe { f() };",
            "unsafe impl Send for X {}",
            "#[unsafe(no_mangle)]",
        ];
        assert_eq!(unsafe_lines(&text.join("\n")), [4, 5]);
    }
}
