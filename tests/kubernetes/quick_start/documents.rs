//! The command lines that the documents tell a user to type.

use anyhow::{Context, Result, ensure};

pub(super) const README: &str = include_str!("../../../README.md");
pub(super) const INSTALL: &str = include_str!("../../../docs/install.md");

/// A line of a block, without its comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) command: &'static str,
    /// It ends with `&`.
    pub(super) in_background: bool,
}

/// The lines of the first block below a heading, for example `## Uninstall`.
pub(super) fn lines(document: &'static str, heading: &str) -> Result<Vec<Line>> {
    let below = document.split_once(&format!("\n{heading}\n"));
    let (_, below) = below.with_context(|| format!("there is no heading {heading:?}"))?;
    let section = below.split("\n## ").next().unwrap_or_default();
    let block = section.split("```").nth(1).with_context(|| format!("no block below {heading:?}"))?;
    // The first line names the language, if it has any text.
    let lines: Vec<Line> = block.lines().skip(1).filter_map(line).collect();
    ensure!(!lines.is_empty(), "the block below {heading:?} has no commands");
    Ok(lines)
}

fn line(text: &'static str) -> Option<Line> {
    let command = text.split(" #").next().unwrap_or_default().trim();
    if command.is_empty() || command.starts_with('#') {
        return None;
    }
    let background = command.strip_suffix('&').map(str::trim_end);
    Some(Line { command: background.unwrap_or(command), in_background: background.is_some() })
}
