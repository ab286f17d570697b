//! Parses the Prometheus text format.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name, with its suffix (`_total`, `_sum`, …).
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// A label's value; empty: it has no such label, which is the same to Prometheus.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// Whether all these labels have these values.
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == *value)
    }
}

/// All samples of a page. Comments and broken lines are skipped.
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter_map(sample).collect()
}

/// The sum of the values of `name` with these labels.
pub fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    samples.iter().filter(|sample| sample.name == name && sample.has(labels)).map(|sample| sample.value).sum()
}

/// One line; `None`: a comment, or broken.
pub fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    // A timestamp and an exemplar may follow.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Reads up to the closing brace; returns what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.insert(name.trim().to_owned(), value);
        rest = after;
    }
}

/// Reads up to the closing quote, with the escapes `\\`, `\"` and `\n`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read() {
        let page = "# HELP x y\n# TYPE x counter\nx_total{a=\"b\",c=\"d \\\"e\\\\ }\\n\"} 12 1700000000\n\
                    up 1\nrtt_sum{} 0.25 # {trace=\"1\"} 3\nbroken{a=\"b 3\nalso broken\n# EOF\n";
        let samples = parse(page);
        assert_eq!(samples.len(), 3, "{samples:?}");
        assert_eq!(samples[0].label("c"), "d \"e\\ }\n");
        assert_eq!(samples[0].value, 12.0);
        assert_eq!((samples[1].name.as_str(), samples[1].value), ("up", 1.0));
        assert_eq!((samples[2].name.as_str(), samples[2].value), ("rtt_sum", 0.25));
    }

    #[test]
    fn special_values_and_sums() {
        let samples = parse("b{le=\"+Inf\"} +Inf\nx{a=\"1\"} 2\nx{a=\"1\",b=\"2\"} 3\nx{a=\"2\"} 5\nn NaN\n");
        assert_eq!(samples[0].value, f64::INFINITY);
        assert_eq!(sum(&samples, "x", &[("a", "1")]), 5.0);
        assert_eq!(sum(&samples, "x", &[("a", "1"), ("b", "")]), 2.0);
        assert!(samples[4].value.is_nan());
    }
}
