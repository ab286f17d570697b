//! Checks that docs/operations.md has every field of the log lines, and no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use anyhow::{Context, Result, bail};

use super::files;
use crate::host;

const DOCUMENT: &str = "docs/operations.md";
/// The programs whose log operators read.
const PROGRAMS: [&str; 3] = ["proxy/src", "control/src", "viz/src"];
const MACROS: [&str; 5] = ["error!(", "warn!(", "info!(", "debug!(", "trace!("];

pub(super) fn check() -> Result<()> {
    let document = fs::read_to_string(host::root().join(DOCUMENT)).context(DOCUMENT)?;
    let documented = documented(&document);
    let mut used = BTreeMap::<String, PathBuf>::new();
    for file in files::with_extensions(&["rs"])? {
        let Ok(name) = file.strip_prefix(host::root()) else { continue };
        let is_test = name.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
        if PROGRAMS.iter().any(|program| name.starts_with(program)) && !is_test {
            let text = fs::read_to_string(&file).with_context(|| name.display().to_string())?;
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            used.extend(fields(code).into_iter().map(|field| (field, name.to_owned())));
        }
    }
    let missing = used.iter().filter(|(field, _)| !documented.contains(field.as_str()));
    let mut complaints: Vec<_> = missing
        .map(|(field, file)| {
            format!("{DOCUMENT}, \"Log fields\", has no line for `{field}` ({})", file.display())
        })
        .collect();
    let unused = documented.iter().filter(|field| !used.contains_key(**field));
    complaints.extend(unused.map(|field| format!("{DOCUMENT}, \"Log fields\": no log line has `{field}`")));
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    println!("    {} fields", used.len());
    Ok(())
}

/// The names in the first column of the table.
fn documented(document: &str) -> BTreeSet<&str> {
    let section = document.split("\n## Log fields\n").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    rows.flat_map(|names| names.split(", ")).map(|name| name.trim_matches('`')).collect()
}

/// The fields of all log macros in a file.
fn fields(code: &str) -> BTreeSet<String> {
    let calls = MACROS.iter().flat_map(|name| code.match_indices(name));
    calls.flat_map(|(at, name)| arguments(&code[at + name.len()..])).filter_map(field).collect()
}

/// The arguments of a call before its message, whose first character follows the parenthesis.
fn arguments(code: &str) -> Vec<&str> {
    let (mut arguments, mut begin, mut depth, mut is_string) = (Vec::new(), 0, 0_u32, false);
    let mut characters = code.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' if is_string => drop(characters.next()),
            '"' => is_string = !is_string,
            _ if is_string => {}
            ')' | ',' if depth == 0 => {
                let argument = code[begin..at].trim();
                if argument.is_empty() || argument.starts_with('"') {
                    break;
                }
                arguments.push(argument);
                begin = at + 1;
                if character == ')' {
                    break;
                }
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    arguments
}

/// The name of `name = value`, `%name`, `?name` or `name`.
fn field(argument: &str) -> Option<String> {
    let name = argument.split_once(" = ").map_or(argument, |(name, _)| name);
    let name = name.trim_start_matches(['%', '?']);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_every_form() {
        let code = r#"
            warn!(workload = %pod.key(a, b), %error, ?result, took, "failed (\"x\"), {other}", other);
            tracing::info!("no = field");
            tracing::debug!(
                path = %path.display(),
                "done"
            );
        "#;
        let expected = ["error", "path", "result", "took", "workload"];
        assert_eq!(fields(code), expected.map(str::to_owned).into());
    }

    #[test]
    fn the_first_column_of_the_table_is_read() {
        let document =
            "## Log fields\n| field | meaning |\n|---|---|\n| `a`, `b` | `c` |\n\n## Next\n| `d` | |\n";
        assert_eq!(documented(&format!("\n{document}")), ["a", "b"].into());
    }
}
