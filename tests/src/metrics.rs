//! What do a process's metrics say, and what has changed since an earlier look?

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result, bail, ensure};

use weft_vm::prom;

use crate::dial;

/// A look at all series of a process (Prometheus' text format).
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    series: BTreeMap<Series, f64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

/// Labels that a series must have; an empty value asks for a series without that label.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Metrics {
    /// Asks the process whose admin listener is at `admin`.
    pub fn of(admin: SocketAddr) -> Result<Self> {
        Self::parse(&get(admin, "/metrics")?)
    }

    /// Reads the text format.
    pub fn parse(text: &str) -> Result<Self> {
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let sample = prom::sample(line).with_context(|| format!("metrics line {line:?}"))?;
            series.insert(Series { name: sample.name, labels: sample.labels }, sample.value);
        }
        Ok(Self { series })
    }

    /// The sum of all series of this name that have (at least) these labels.
    pub fn value(&self, name: &str, labels: Labels) -> f64 {
        self.matching(name, labels).map(|(_, value)| value).sum()
    }

    /// What each series has gained since `before`; a series that was not there yet counts from zero.
    pub fn since(&self, before: &Self) -> Self {
        let gained = |(key, now): (&Series, &f64)| {
            let then = before.series.get(key).copied().unwrap_or_default();
            (now - then != 0.0).then(|| (key.clone(), now - then))
        };
        Self { series: self.series.iter().filter_map(gained).collect() }
    }

    /// The values of one label over the series of this name that have these labels.
    pub fn label_values(&self, name: &str, labels: Labels, label: &str) -> Vec<String> {
        self.matching(name, labels).filter_map(|(key, _)| key.labels.get(label).cloned()).collect()
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Fails, and shows every series of that name, unless their sum is `expected`.
    pub fn expect(&self, name: &str, labels: Labels, expected: f64) -> Result<()> {
        let found = self.value(name, labels);
        ensure!(
            found == expected,
            "{name}{labels:?} is {found}, not {expected}; there is:\n{}",
            self.show(name)
        );
        Ok(())
    }

    /// Fails, and shows every series of that name, unless their sum is above zero.
    pub fn expect_some(&self, name: &str, labels: Labels) -> Result<()> {
        ensure!(
            self.value(name, labels) > 0.0,
            "{name}{labels:?} is not counted; there is:\n{}",
            self.show(name)
        );
        Ok(())
    }

    /// Every series whose name begins so, one a line.
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

/// Asks an admin listener for a page and gives its body; anything but 200 is an error.
pub fn get(admin: SocketAddr, path: &str) -> Result<String> {
    let (status, body) = request(admin, "GET", path, "")?;
    ensure!(status == 200, "{path} of {admin} answered {status}: {body}");
    Ok(body)
}

/// One HTTP/1.0 request to an admin listener: the status and the body.
pub fn request(admin: SocketAddr, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(admin).with_context(|| format!("admin listener {admin}"))?;
    stream.set_read_timeout(Some(dial::PATIENCE))?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nhost: admin\r\ncontent-length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("answer of {admin}{path}"))?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{admin}{path} answered something else than HTTP: {answer:?}");
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("status of {head:?}"))?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_form_are_read() {
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
    fn only_what_changed_is_left() {
        let before = Metrics::parse("a 1\nb 2\n").unwrap();
        let since = Metrics::parse("a 1\nb 5\nc 1\n").unwrap().since(&before);
        assert_eq!((since.len(), since.value("b", &[]), since.value("c", &[])), (2, 3.0, 1.0));
    }
}
