//! Changes entries of mappings in a YAML or JSON text, and leaves every other byte as it is.

use std::ops::Range;

use super::tree::{Kind, Node};

/// A part of the text and what replaces it.
#[derive(Debug)]
pub(super) struct Edit {
    at: Range<usize>,
    with: String,
}

/// The text is written in a way that is not edited in place. The document is then written anew.
#[derive(Debug)]
pub(super) struct NotInPlace;

/// The text with all edits, which must not overlap.
pub(super) fn apply(text: &str, mut edits: Vec<Edit>) -> Result<String, NotInPlace> {
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    let (mut out, mut from) = (String::with_capacity(text.len() + 256), 0);
    for edit in edits {
        out.push_str(text.get(from..edit.at.start).ok_or(NotInPlace)?);
        out.push_str(&edit.with);
        from = edit.at.end;
    }
    out.push_str(text.get(from..).ok_or(NotInPlace)?);
    Ok(out)
}

/// Sets entries of the mapping at `path` below `object`. What is missing on the way is made.
pub(super) fn set(
    text: &str,
    object: &Node,
    path: &[&str],
    entries: &[(String, String)],
) -> Result<Vec<Edit>, NotInPlace> {
    let Some((first, rest)) = path.split_first() else {
        return set_here(text, object, entries);
    };
    match object.entry(first) {
        Some((_, child)) if matches!(child.kind, Kind::Mapping { .. }) => set(text, child, rest, entries),
        Some((key, child)) if child.is_null() => {
            let Kind::Mapping { flow: false, .. } = object.kind else { return Err(NotInPlace) };
            let colon =
                key.at.end + text.get(key.at.end..).and_then(|after| after.find(':')).ok_or(NotInPlace)? + 1;
            // Nothing behind the colon: the parser says `~`, at no place.
            let end = if child.at.is_empty() { colon } else { child.at.end };
            let lines = block(rest, entries);
            let indent = " ".repeat(key.column + 2);
            let with = lines.iter().map(|line| format!("{}{indent}{line}", newline(text))).collect();
            Ok(vec![Edit { at: colon..end, with }])
        }
        Some(_) => Err(NotInPlace),
        None => insert(text, object, path, entries),
    }
}

fn set_here(text: &str, mapping: &Node, entries: &[(String, String)]) -> Result<Vec<Edit>, NotInPlace> {
    let (mut edits, mut new) = (Vec::new(), Vec::new());
    for (key, value) in entries {
        match mapping.get(key) {
            Some(old) if old.text() == Some(value) && !old.is_null() => {}
            Some(Node { kind: Kind::Scalar { block: false, value: old, .. }, at, .. }) if !old.is_empty() => {
                edits.push(Edit { at: at.clone(), with: json(value) });
            }
            Some(_) => return Err(NotInPlace),
            None => new.push((key.clone(), value.clone())),
        }
    }
    if !new.is_empty() {
        edits.extend(insert(text, mapping, &[], &new)?);
    }
    Ok(edits)
}

/// Inserts entries, inside new mappings at `path`, as the first of `mapping`.
fn insert(
    text: &str,
    mapping: &Node,
    path: &[&str],
    entries: &[(String, String)],
) -> Result<Vec<Edit>, NotInPlace> {
    let Kind::Mapping { entries: existing, flow } = &mapping.kind else { return Err(NotInPlace) };
    let edit = match (existing.first(), flow) {
        (first, true) => {
            let start = mapping.at.start + 1;
            if text.as_bytes().get(mapping.at.start) != Some(&b'{') {
                return Err(NotInPlace);
            }
            let mut with = flow_entries(path, entries);
            if let Some((key, _)) = first {
                // As the first entry: on a line of its own, or behind the brace.
                let space = text.get(start..key.at.start).ok_or(NotInPlace)?;
                let space = if space.trim().is_empty() { space } else { return Err(NotInPlace) };
                with = format!("{space}{with},{}", if space.is_empty() { " " } else { "" });
            }
            Edit { at: start..start, with }
        }
        (None, false) => return Err(NotInPlace),
        (Some((key, _)), false) => {
            let lines = block(path, entries);
            let indent = " ".repeat(key.column);
            let line = line_start(text, key.at.start);
            if text[line..key.at.start].trim().is_empty() {
                let at = above_comments(text, line);
                let with = lines.iter().map(|line| format!("{indent}{line}{}", newline(text))).collect();
                Edit { at: at..at, with }
            } else {
                // Behind the dash of a list.
                let with = lines.iter().map(|line| format!("{line}{}{indent}", newline(text))).collect();
                Edit { at: key.at.start..key.at.start, with }
            }
        }
    };
    Ok(vec![edit])
}

/// Removes entries of the mapping at `path`, and the mapping with its last entry.
pub(super) fn remove(
    text: &str,
    object: &Node,
    path: &[&str],
    keys: &[&str],
) -> Result<Vec<Edit>, NotInPlace> {
    let (last, parents) = path.split_last().ok_or(NotInPlace)?;
    let parent = parents.iter().try_fold(object, |node, key| node.get(key)).ok_or(NotInPlace)?;
    let mapping = parent.get(last).ok_or(NotInPlace)?;
    let Kind::Mapping { entries, .. } = &mapping.kind else { return Err(NotInPlace) };
    if entries.iter().all(|(key, _)| key.text().is_some_and(|key| keys.contains(&key))) {
        return match &parent.kind {
            Kind::Mapping { entries, .. } if entries.len() > 1 => remove_here(text, parent, &[last]),
            _ => Err(NotInPlace),
        };
    }
    remove_here(text, mapping, keys)
}

fn remove_here(text: &str, mapping: &Node, keys: &[&str]) -> Result<Vec<Edit>, NotInPlace> {
    let Kind::Mapping { entries, flow } = &mapping.kind else { return Err(NotInPlace) };
    let gone: Vec<bool> =
        entries.iter().map(|(key, _)| key.text().is_some_and(|key| keys.contains(&key))).collect();
    let mut edits = Vec::new();
    let mut at = 0;
    while at < entries.len() {
        if !gone[at] {
            at += 1;
            continue;
        }
        let next = (at..entries.len()).find(|next| !gone[*next]).unwrap_or(entries.len());
        let range = if *flow {
            match (entries.get(next), at.checked_sub(1)) {
                (Some((key, _)), _) => entries[at].0.at.start..key.at.start,
                (None, Some(before)) => {
                    end(&entries[before].0, &entries[before].1)
                        ..end(&entries[next - 1].0, &entries[next - 1].1)
                }
                (None, None) => return Err(NotInPlace),
            }
        } else {
            let key = &entries[at].0;
            let line = line_start(text, key.at.start);
            if !text[line..key.at.start].trim().is_empty() {
                return Err(NotInPlace);
            }
            line..line_end(text, end(&entries[next - 1].0, &entries[next - 1].1))
        };
        edits.push(Edit { at: range, with: String::new() });
        at = next;
    }
    Ok(edits)
}

/// Where an entry's own text ends.
fn end(key: &Node, value: &Node) -> usize {
    match &value.kind {
        Kind::Mapping { entries, flow: false } => {
            entries.last().map_or(value.at.end, |(key, value)| end(key, value))
        }
        Kind::Sequence { items } if value.at.end <= value.at.start => {
            items.last().map_or(key.at.end, |item| end(key, item))
        }
        Kind::Scalar { .. } if value.at.is_empty() => key.at.end,
        _ => value.at.end,
    }
}

/// `metadata:` and what belongs below it, as lines.
fn block(path: &[&str], entries: &[(String, String)]) -> Vec<String> {
    let mut lines: Vec<String> =
        path.iter().enumerate().map(|(depth, key)| format!("{}{key}:", "  ".repeat(depth))).collect();
    let indent = "  ".repeat(path.len());
    lines.extend(entries.iter().map(|(key, value)| format!("{indent}{key}: {}", plain_or_quoted(value))));
    lines
}

fn flow_entries(path: &[&str], entries: &[(String, String)]) -> String {
    let inner: Vec<_> =
        entries.iter().map(|(key, value)| format!("{}: {}", json(key), json(value))).collect();
    path.iter().rev().fold(inner.join(", "), |inner, key| format!("{}: {{{inner}}}", json(key)))
}

/// A word needs no quotes, if no parser can take it for anything but a string.
fn plain_or_quoted(value: &str) -> String {
    let word = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.len() > 3
        && !["true", "null", "false"].contains(&value.to_ascii_lowercase().as_str());
    if word { value.to_owned() } else { json(value) }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The start of the next line. A block scalar ends there already.
fn line_end(text: &str, at: usize) -> usize {
    if at > 0 && text.as_bytes().get(at - 1) == Some(&b'\n') {
        return at;
    }
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// The start of the lines of comments right above a line.
fn above_comments(text: &str, mut line: usize) -> usize {
    while line > 0 {
        let above = line_start(text, line - 1);
        if !text[above..line].trim_start().starts_with('#') {
            break;
        }
        line = above;
    }
    line
}
