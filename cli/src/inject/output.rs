//! Prints the changed manifests.

use anyhow::{Context, Result};

use super::stream::Stream;
use crate::{install::Format, terminal::print};

/// Prints the manifests as they were written, or in the format asked for.
pub(super) fn manifests(streams: &[Stream], format: Option<Format>) -> Result<()> {
    let mut out = String::new();
    for stream in streams {
        let json = || -> Result<String> {
            let mut text = String::new();
            for value in stream.values()?.iter().filter(|value| !value.is_null()) {
                text.push_str(
                    &serde_json::to_string_pretty(value).context("the objects cannot be written as JSON")?,
                );
                text.push('\n');
            }
            Ok(text)
        };
        let text = match format {
            None => stream.text()?,
            Some(Format::Yaml) => super::stream::write(&stream.values()?)?,
            Some(Format::Json) => json()?,
        };
        // Between files, as between documents of a file.
        if !out.is_empty() && !text.trim_start().starts_with("---") && format != Some(Format::Json) {
            out.push_str("---\n");
        }
        out.push_str(&text);
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    print(&out)
}
