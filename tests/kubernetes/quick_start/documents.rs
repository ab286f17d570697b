//! The command lines that the documents tell a user to type.

use anyhow::{Context, Result, ensure};

pub(super) const README: &str = include_str!("../../../README.md");
pub(super) const INSTALL: &str = include_str!("../../../docs/install.md");
pub(super) const MIGRATING: &str = include_str!("../../../docs/migrating-from-linkerd.md");

/// A line of a block, without its comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) command: &'static str,
    /// It ends with `&`.
    pub(super) in_background: bool,
}

/// The lines of the first block below a heading, for example `## Uninstall`.
pub(super) fn lines(document: &'static str, heading: &str) -> Result<Vec<Line>> {
    let block = blocks(document, heading)?.into_iter().next().context("no block")?;
    let lines: Vec<Line> = block.lines().filter_map(line).collect();
    ensure!(!lines.is_empty(), "the block below {heading:?} has no commands");
    Ok(lines)
}

/// All blocks below a heading, each as a script.
pub(super) fn blocks(document: &'static str, heading: &str) -> Result<Vec<&'static str>> {
    let section = section(document, heading)?;
    // The first line names the language, if it has any text.
    let text = |block: &'static str| block.split_once('\n').map_or("", |(_, text)| text);
    let blocks: Vec<_> = section.split("```").skip(1).step_by(2).map(text).collect();
    ensure!(!blocks.is_empty(), "no block below {heading:?}");
    Ok(blocks)
}

/// What is below a heading, up to the next one of the same kind.
pub(super) fn section(document: &'static str, heading: &str) -> Result<&'static str> {
    let below = document.split_once(&format!("\n{heading}\n"));
    let (_, below) = below.with_context(|| format!("there is no heading {heading:?}"))?;
    Ok(below.split("\n## ").next().unwrap_or_default())
}

fn line(text: &'static str) -> Option<Line> {
    let command = text.split(" #").next().unwrap_or_default().trim();
    if command.is_empty() || command.starts_with('#') {
        return None;
    }
    let background = command.strip_suffix('&').map(str::trim_end);
    Some(Line { command: background.unwrap_or(command), in_background: background.is_some() })
}
