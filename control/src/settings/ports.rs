//! Parses lists of ports such as `25,8000-8080,smtp`.

use std::collections::BTreeSet;

/// Ports from `start` to `end`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// Never 0.
    pub start: u16,
    /// Never less than `start`.
    pub end: u16,
}

/// Sorted ranges with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortSet(Vec<PortRange>);

/// A list of ports as written: numbers, ranges, and names that a pod or service defines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortNames {
    ranges: Vec<PortRange>,
    names: BTreeSet<String>,
}

impl PortNames {
    /// Reads a comma-separated list; the error says which item is wrong and how.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match item.starts_with(|c: char| c.is_ascii_digit()) {
                true => read.ranges.push(PortRange::parse(item)?),
                false if is_port_name(item) => {
                    read.names.insert(item.to_owned());
                }
                false => {
                    return Err(format!("{item:?} is neither a port, a range of ports nor a port's name"));
                }
            }
        }
        Ok(read)
    }

    /// Looks up the names; unknown names are left out.
    pub fn resolve(&self, lookup: impl Fn(&str) -> Option<u16>) -> PortSet {
        let named = self.names.iter().filter_map(|name| lookup(name)).map(PortRange::one);
        self.ranges.iter().copied().chain(named).collect()
    }
}

impl PortRange {
    pub fn one(port: u16) -> Self {
        Self { start: port, end: port }
    }

    fn parse(item: &str) -> Result<Self, String> {
        let port = |text: &str| match text.trim().parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("{item:?} is not a port or range of ports between 1 and 65535")),
        };
        let (start, end) = match item.split_once('-') {
            Some((start, end)) => (port(start)?, port(end)?),
            None => (port(item)?, port(item)?),
        };
        match start <= end {
            true => Ok(Self { start, end }),
            false => Err(format!("the range {item:?} ends before it starts")),
        }
    }
}

impl PortSet {
    /// Reads a comma-separated list of ports and ranges, without names.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = PortNames::parse(text)?;
        match read.names.first() {
            Some(name) => Err(format!("{name:?} is not a number; names are not allowed here")),
            None => Ok(read.resolve(|_| None)),
        }
    }

    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| (range.start..=range.end).contains(&port))
    }

    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }

    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.0.iter().flat_map(|range| range.start..=range.end)
    }

    /// The same set with `port` (if `member`) or without it.
    pub fn with(&self, port: u16, member: bool) -> Self {
        let others = self.0.iter().flat_map(|range| match (range.start..=range.end).contains(&port) {
            false => vec![*range],
            true => {
                let before = (range.start < port).then(|| PortRange { start: range.start, end: port - 1 });
                let after = (range.end > port).then(|| PortRange { start: port + 1, end: range.end });
                before.into_iter().chain(after).collect()
            }
        });
        others.chain(member.then(|| PortRange::one(port))).collect()
    }
}

impl FromIterator<PortRange> for PortSet {
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let mut ranges: Vec<PortRange> = ranges.into_iter().collect();
        ranges.sort();
        let mut merged: Vec<PortRange> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if u32::from(range.start) <= u32::from(last.end) + 1 => {
                    last.end = last.end.max(range.end);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

/// Kubernetes' rule for port names (IANA service names).
pub(crate) fn is_port_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(allowed)
        && name.contains(|c: char| c.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_ranges_and_names() {
        let ports = PortNames::parse("25, 8000-8002,smtp,").unwrap();
        let set = ports.resolve(|name| (name == "smtp").then_some(26));
        assert_eq!(set.ranges(), [PortRange { start: 25, end: 26 }, PortRange { start: 8000, end: 8002 }]);
        assert_eq!(PortSet::parse("").unwrap(), PortSet::default());
    }

    #[test]
    fn refuses_what_is_no_port() {
        for text in ["0", "65536", "9-8", "-5", "80-", "8o", "a_b", "1-2-3"] {
            assert!(PortNames::parse(text).is_err(), "{text}");
        }
        assert!(PortSet::parse("http").is_err());
    }

    #[test]
    fn adds_and_removes_one_port() {
        let set = PortSet::parse("10-20").unwrap();
        assert_eq!(set.with(15, false), PortSet::parse("10-14,16-20").unwrap());
        assert_eq!(set.with(10, false), PortSet::parse("11-20").unwrap());
        assert_eq!(set.with(21, true), PortSet::parse("10-21").unwrap());
        assert!(set.with(65535, true).contains(65535));
    }
}
