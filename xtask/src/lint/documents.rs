//! Checks that the links of documents, and the files of the code that they name, exist.

use std::{
    collections::HashSet,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::files;
use crate::host;

/// A file of the code may be named from one of these folders on.
const ROOTS: [&str; 6] = ["", "proxy", "proxy/src", "control/src", "viz/src", "cli/src"];

pub(super) fn check() -> Result<()> {
    let documents = files::with_extensions(&["md"])?;
    let mut complaints = Vec::new();
    for document in &documents {
        let text = read(document)?;
        let name = document.strip_prefix(host::root()).unwrap_or(document).display();
        for (number, line) in prose(&text) {
            for link in links(line) {
                if let Err(reason) = follow(document, link) {
                    complaints.push(format!("{name}:{number}: {link}: {reason}"));
                }
            }
            for path in code(line).filter(|code| is_source(code)) {
                if !ROOTS.iter().any(|root| host::root().join(root).join(path).is_file()) {
                    complaints.push(format!("{name}:{number}: there is no file {path}"));
                }
            }
        }
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    println!("    {} documents", documents.len());
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The lines outside of code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_block = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_block ^= is_fence;
        !is_block && !is_fence
    })
}

/// The targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// What is between single backticks.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn is_source(code: &str) -> bool {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    code.ends_with(".rs") && code.contains('/') && code.chars().all(is_path) && !code.starts_with("foo/")
}

/// Fails if the link leads to no file of the checkout, or to no heading. Other sites are not asked.
fn follow(document: &Path, link: &str) -> Result<()> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(());
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => document.to_owned(),
        path => normal(&document.parent().unwrap_or(document).join(path)),
    };
    if !target.exists() {
        bail!("there is no such file");
    }
    if !anchor.is_empty() && target.extension().is_some_and(|e| e == "md") {
        let headings = headings(&read(&target)?);
        if !headings.contains(anchor) {
            bail!("there is no such heading");
        }
    }
    Ok(())
}

/// The path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            component => normal.push(component),
        }
    }
    normal
}

/// The anchors of all headings, as GitHub makes them.
fn headings(text: &str) -> HashSet<String> {
    let mut headings = HashSet::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let repeated = (1..).map(|n| format!("{anchor}-{n}"));
        let unused = [anchor.clone()].into_iter().chain(repeated).find(|anchor| !headings.contains(anchor));
        headings.extend(unused);
    }
    headings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_anchors_as_on_github() {
        let text = "# `weft check`: what, and why?\n## Two\n```\n# no heading\n```\n## Two\n";
        let expected = ["weft-check-what-and-why", "two", "two-1"];
        assert_eq!(headings(text), expected.map(str::to_owned).into());
    }

    #[test]
    fn links_and_files_are_found_outside_of_code_blocks() {
        let text = "see [a](b.md#c) and `net/copy.rs`, `copy.rs`, `--flag`\n```\n[x](y)\n```\n";
        let lines: Vec<_> = prose(text).collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(links(lines[0].1).collect::<Vec<_>>(), ["b.md#c"]);
        assert_eq!(code(lines[0].1).filter(|code| is_source(code)).collect::<Vec<_>>(), ["net/copy.rs"]);
    }

    #[test]
    fn links_to_nothing_are_found() {
        let readme = host::root().join("README.md");
        follow(&readme, "docs/architecture.md#glossary").unwrap();
        follow(&readme, "https://example.org/x").unwrap();
        follow(&readme, "docs/none.md").unwrap_err();
        follow(&readme, "docs/architecture.md#none").unwrap_err();
        follow(&host::root().join("docs/metrics.md"), "../README.md").unwrap();
    }
}
