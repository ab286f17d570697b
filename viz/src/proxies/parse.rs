//! Reads the proxies' metrics.
//!
//! The parsers on crates.io either hold the whole page as a tree or know only the older text format. This one reads a
//! page line by line and keeps only the families that are asked for.

use crate::query::Labels;

/// One line of a page.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'a> {
    /// With its suffix (`_total`, `_bucket`).
    pub(super) name: &'a str,
    /// The labels as they are written: they identify the series.
    pub(super) labels: &'a str,
    pub(super) value: f64,
}

/// The samples of a page. Comments and broken lines are skipped.
pub(super) fn lines(page: &str) -> impl Iterator<Item = Line<'_>> {
    page.lines().filter_map(line)
}

fn line(line: &str) -> Option<Line<'_>> {
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_at(end_of_labels(rest)?),
        None => ("", rest),
    };
    // A timestamp and an exemplar may follow.
    let value = rest.trim_start_matches('}').split_whitespace().next()?.parse().ok()?;
    Some(Line { name, labels, value })
}

/// Where the closing brace is: not within a value.
fn end_of_labels(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The labels of a line.
pub(super) fn labels(text: &str) -> Labels {
    let (mut found, mut rest) = (Labels::new(), text);
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next() {
                Some((at, '"')) => break at + 1,
                Some((_, '\\')) => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, other)) => value.push(other),
                    None => break after.len(),
                },
                Some((_, c)) => value.push(c),
                None => break after.len(),
            }
        };
        found.insert(name.trim_matches([',', ' ']).to_owned(), value);
        rest = &after[end..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_openmetrics_are_read() {
        let page = "# TYPE x counter\nx_total{a=\"b\",c=\"d \\\"e\\\\ }\\n\"} 12 1700000000\nup 1\n\
                    rtt_sum{} 0.25 # {trace=\"1\"} 3\nbroken{a=\"b 3\nalso broken\n# EOF\n";
        let found: Vec<_> = lines(page).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!((found[0].name, found[0].value), ("x_total", 12.0));
        let read = labels(found[0].labels);
        assert_eq!((read["a"].as_str(), read["c"].as_str()), ("b", "d \"e\\ }\n"));
        assert_eq!((found[1].name, found[1].labels, found[1].value), ("up", "", 1.0));
        assert_eq!((found[2].name, found[2].value), ("rtt_sum", 0.25));
    }
}
