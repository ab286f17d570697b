//! Which figures were to be reached, and which were?

use std::fmt::Write;

use super::figures::Row;

/// A figure and its bound.
pub struct Target {
    /// As it is called in the list.
    what: &'static str,
    /// Of the case and the variant that it is a figure of.
    row: (&'static str, &'static str),
    figure: fn(&Row) -> Option<f64>,
    /// Compared with the same figure of this case: what remains is a ratio.
    next_to: Option<&'static str>,
    bound: Bound,
}

enum Bound {
    /// What must be reached, what is aimed at.
    AtMost(f64, Option<f64>),
    AtLeast(f64, Option<f64>),
}
use Bound::{AtLeast, AtMost};

/// Each is a median of ratios to the direct variant of the same repetition, unless its name says otherwise.
pub const TARGETS: [Target; 15] = [
    target("cross-node, 2000/s: p50", ("echo-2000", "weft"), p50, AtMost(2.5, Some(2.2))),
    target("cross-node, 2000/s: CPU s per 10k", ("echo-2000", "weft"), cpu, AtMost(1.1, Some(0.9))),
    target(
        "cross-node, 32 connections: maximum",
        ("echo-max-32", "weft"),
        throughput,
        AtLeast(0.4, Some(0.55)),
    ),
    target("cross-node, 1 stream: bulk", ("bulk-1", "weft"), throughput, AtLeast(0.33, Some(0.45))),
    target("cross-node, new connections, 100/s: p50", ("connect-100", "weft"), p50, AtMost(3.6, Some(2.5))),
    target("same node, 2000/s: p50", ("echo-2000", "weft-same-node"), p50, AtMost(1.7, Some(1.4))),
    target(
        "same node, 32 connections: maximum",
        ("echo-max-32", "weft-same-node"),
        throughput,
        AtLeast(0.6, None),
    ),
    target("same node, 1 stream: bulk", ("bulk-1", "weft-same-node"), throughput, AtLeast(0.6, None)),
    target("same node, spliced, 2000/s: p50", ("echo-2000", "weft-spliced"), p50, AtMost(0.7, None)),
    target(
        "same node, spliced, 2000/s, one processor: p50",
        ("echo-2000-shared", "weft-spliced"),
        p50,
        AtMost(0.7, None),
    ),
    target("same node, direct pass, 2000/s: p50", ("echo-2000", "weft-direct-pass"), p50, AtMost(1.05, None)),
    target("100 idle workloads: MB of the proxy", ("workloads-100", "weft"), memory, AtMost(60.0, None)),
    target(
        "1 000 idle connections: MB more per node",
        ("idle-1000", "weft"),
        growth_per_node,
        AtMost(10.0, None),
    ),
    Target {
        next_to: Some("workloads-100"),
        ..target(
            "500 workloads: growth per workload, x that of 100",
            ("workloads-500", "weft"),
            growth_per_unit,
            AtMost(1.1, None),
        )
    },
    Target {
        next_to: Some("idle-1000"),
        ..target(
            "9 000 connections: growth per connection, x that of 1 000",
            ("idle-9000", "weft"),
            growth_per_unit,
            AtMost(1.1, None),
        )
    },
];

const fn target(
    what: &'static str,
    row: (&'static str, &'static str),
    figure: fn(&Row) -> Option<f64>,
    bound: Bound,
) -> Target {
    Target { what, row, figure, next_to: None, bound }
}

fn p50(row: &Row) -> Option<f64> {
    row.p50_ratio.map(|spread| spread.median)
}

fn throughput(row: &Row) -> Option<f64> {
    row.throughput_ratio.map(|spread| spread.median)
}

fn cpu(row: &Row) -> Option<f64> {
    row.cpu_per_10k
}

fn memory(row: &Row) -> Option<f64> {
    row.resident.map(|(_, after)| after)
}

fn growth_per_unit(row: &Row) -> Option<f64> {
    row.resident.map(|(before, after)| (after - before) / row.case.work.units() as f64)
}

/// Both nodes' proxies carry each connection.
fn growth_per_node(row: &Row) -> Option<f64> {
    row.resident.map(|(before, after)| (after - before) / 2.0)
}

impl Target {
    /// The better one of the haproxy pairs, in the same case of the same run: what a ratio to direct says depends on
    /// the machine, and what it says of two proxies much less.
    fn peer(&self, rows: &[Row]) -> Option<f64> {
        let of_peer = |row: &&Row| row.case.name == self.row.0 && row.variant.name.starts_with("haproxy");
        let figures = rows.iter().filter(of_peer).filter_map(self.figure);
        let better = match self.bound {
            AtMost(..) => f64::min,
            AtLeast(..) => f64::max,
        };
        figures.reduce(better).filter(|_| self.row.1 == "weft" && self.next_to.is_none())
    }

    fn reached(&self, rows: &[Row]) -> Option<f64> {
        let figure = |case: &str| {
            (self.figure)(rows.iter().find(|row| row.case.name == case && row.variant.name == self.row.1)?)
        };
        let reached = figure(self.row.0)?;
        match self.next_to {
            Some(other) => figure(other).filter(|other| *other > 0.0).map(|other| reached / other),
            None => Some(reached),
        }
    }
}

impl Bound {
    fn verdict(&self, reached: f64) -> &'static str {
        let (is_met, is_aim) = match *self {
            AtMost(most, aim) => (reached <= most, aim.is_some_and(|aim| reached <= aim)),
            AtLeast(least, aim) => (reached >= least, aim.is_some_and(|aim| reached >= aim)),
        };
        match (is_met, is_aim) {
            (true, true) => "met, and what was aimed at",
            (true, false) => "met",
            (false, _) => "NOT MET",
        }
    }

    fn text(&self) -> String {
        let (sign, bound, aim) = match *self {
            AtMost(most, aim) => ("<=", most, aim),
            AtLeast(least, aim) => (">=", least, aim),
        };
        let aim = aim.map(|aim| format!(" (aim {aim})")).unwrap_or_default();
        format!("{sign} {bound}{aim}")
    }
}

/// A line for each target; of what was not measured it says so.
pub fn text(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<80}{:>8}{:>9}\n",
        "targets (ratios are to direct in the same repetition)", "reached", "haproxy"
    );
    for target in &TARGETS {
        let (reached, verdict) = match target.reached(rows) {
            Some(reached) => (format!("{reached:.2}"), target.bound.verdict(reached)),
            None => (String::new(), "not measured"),
        };
        let peer = target.peer(rows).map(|peer| format!("{peer:.2}")).unwrap_or_default();
        let (what, bound) = (target.what, target.bound.text());
        let _ = writeln!(text, "  {what:<60}{bound:<18}{reached:>8}{peer:>9}  {verdict}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        case::CASES,
        figures::{Measurement, condense},
        variant::VARIANTS,
    };

    #[test]
    fn every_target_is_of_a_case_and_a_variant_that_are_there() {
        for target in &TARGETS {
            let (case, variant) = target.row;
            let cases = [Some(case), target.next_to];
            assert!(cases.iter().flatten().all(|name| CASES.iter().any(|case| case.name == *name)), "{case}");
            assert!(VARIANTS.iter().any(|other| other.name == variant), "{variant}");
        }
    }

    #[test]
    fn met_and_not_met() {
        let of = |name: &str, after: u64| {
            let case = CASES.iter().find(|case| case.name == name).expect("case");
            let memory =
                Measurement { resident_before: 10_000_000, resident: after, ..Measurement::default() };
            condense(case, &VARIANTS[1], &[(memory, None)])
        };
        let text = text(&[
            of("workloads-100", 20_000_000),
            of("workloads-500", 70_000_000),
            of("idle-1000", 40_000_000),
        ]);
        let line = |what: &str| text.lines().find(|line| line.contains(what)).expect("line").to_owned();
        assert!(line("100 idle workloads").ends_with("20.00           met"), "{text}");
        assert!(line("1 000 idle").ends_with("15.00           NOT MET"));
        assert!(line("500 workloads").ends_with("1.20           NOT MET"));
        assert!(line("direct pass").ends_with("not measured"));
    }

    #[test]
    fn what_is_aimed_at_is_more_than_what_must_be() {
        assert_eq!(AtLeast(0.4, Some(0.55)).verdict(0.6), "met, and what was aimed at");
        assert_eq!(AtLeast(0.4, Some(0.55)).verdict(0.5), "met");
        assert_eq!(AtMost(3.6, Some(2.5)).verdict(3.7), "NOT MET");
    }
}
