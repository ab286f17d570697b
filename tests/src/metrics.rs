//! Metrics of weft's processes, and their changes since an earlier sample.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result, bail, ensure};

use weft_vm::prom;

use crate::dial;

/// All series of a process at one time (Prometheus text format).
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    series: BTreeMap<Series, f64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

/// Labels that a series must have; an empty value means that the label must be absent.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Metrics {
    /// Reads the metrics of the process whose admin listener is at `admin`.
    pub fn of(admin: SocketAddr) -> Result<Self> {
        Self::parse(&get(admin, "/metrics")?)
    }

    /// Parses the text format.
    pub fn parse(text: &str) -> Result<Self> {
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let sample = prom::sample(line).with_context(|| format!("metrics line {line:?}"))?;
            series.insert(Series { name: sample.name, labels: sample.labels }, sample.value);
        }
        Ok(Self { series })
    }

    /// The sum of all series with this name and at least these labels.
    pub fn value(&self, name: &str, labels: Labels) -> f64 {
        self.matching(name, labels).map(|(_, value)| value).sum()
    }

    /// The changes since `before`; series that did not exist then count from zero.
    pub fn since(&self, before: &Self) -> Self {
        let gained = |(key, now): (&Series, &f64)| {
            let then = before.series.get(key).copied().unwrap_or_default();
            (now - then != 0.0).then(|| (key.clone(), now - then))
        };
        Self { series: self.series.iter().filter_map(gained).collect() }
    }

    /// The values of one label over the series with this name and these labels.
    pub fn label_values(&self, name: &str, labels: Labels, label: &str) -> Vec<String> {
        self.matching(name, labels).filter_map(|(key, _)| key.labels.get(label).cloned()).collect()
    }

    /// The series that `before` does not have, as they are written in the text format.
    pub fn added_since(&self, before: &Self) -> Vec<String> {
        let added = self.series.keys().filter(|key| !before.series.contains_key(key));
        added.map(|Series { name, labels }| format!("{name}{labels:?}")).collect()
    }

    /// The number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Fails unless the sum of the series is `expected`; the error shows them all.
    pub fn expect(&self, name: &str, labels: Labels, expected: f64) -> Result<()> {
        let found = self.value(name, labels);
        ensure!(
            found == expected,
            "{name}{labels:?} is {found}, not {expected}; present are:\n{}",
            self.show(name)
        );
        Ok(())
    }

    /// Fails unless the sum of the series is above zero; the error shows them all.
    pub fn expect_some(&self, name: &str, labels: Labels) -> Result<()> {
        ensure!(
            self.value(name, labels) > 0.0,
            "{name}{labels:?} is not counted; present are:\n{}",
            self.show(name)
        );
        Ok(())
    }

    /// The series whose names begin with `prefix`, one per line.
    pub fn show(&self, prefix: &str) -> String {
        let found = self.series.iter().filter(|(key, _)| key.name.starts_with(prefix));
        found.map(|(key, value)| format!("  {} {:?} {value}\n", key.name, key.labels)).collect()
    }

    fn matching(&self, name: &str, labels: Labels) -> impl Iterator<Item = (&Series, f64)> {
        let fits = move |key: &Series| {
            let has = |label: &str| key.labels.get(label).map_or("", String::as_str);
            key.name == name && labels.iter().all(|(label, value)| has(label) == *value)
        };
        self.series.iter().filter(move |(key, _)| fits(key)).map(|(key, value)| (key, *value))
    }
}

/// Requests a page of an admin listener and returns its body; any status but 200 is an error.
pub fn get(admin: SocketAddr, path: &str) -> Result<String> {
    let (status, body) = request(admin, "GET", path, "")?;
    ensure!(status == 200, "{path} of {admin} answered {status}: {body}");
    Ok(body)
}

/// Sends one HTTP/1.0 request to an admin listener and returns status and body.
pub fn request(admin: SocketAddr, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(admin).with_context(|| format!("admin listener {admin}"))?;
    stream.set_read_timeout(Some(dial::TIMEOUT))?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nhost: admin\r\ncontent-length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("answer of {admin}{path}"))?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{admin}{path} did not answer with HTTP: {answer:?}");
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("status of {head:?}"))?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_lines_are_parsed() {
        let text = "# HELP a text\na 1\nb{x=\"1\"} 2\nb{x=\"2\",y=\"a\\\"},b\"} 3.5 # {} 1\nc{} +Inf\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.value("a", &[]), 1.0);
        assert_eq!(metrics.value("b", &[]), 5.5);
        assert_eq!(metrics.value("b", &[("y", "a\"},b")]), 3.5);
        assert_eq!(metrics.value("b", &[("y", "")]), 2.0);
        assert!(metrics.value("c", &[]).is_infinite());
        assert!(Metrics::parse("no value here\n").is_err());
    }

    #[test]
    fn unchanged_series_are_left_out() {
        let before = Metrics::parse("a 1\nb 2\n").unwrap();
        let since = Metrics::parse("a 1\nb 5\nc 1\n").unwrap().since(&before);
        assert_eq!((since.len(), since.value("b", &[]), since.value("c", &[])), (2, 3.0, 1.0));
    }
}
