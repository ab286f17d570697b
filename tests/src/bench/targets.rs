//! The targets: bounds for figures of weft, most of them relative to haproxy or to a direct connection of the same run.

use std::fmt::Write;

use super::{
    case::{BULK_OPERATION, Case, Work},
    figures::{Measurement, Row, Spread},
};

/// A figure of one case and variant, and its bound.
pub struct Target {
    what: &'static str,
    case: &'static str,
    variant: &'static str,
    figure: Figure,
    reference: Reference,
    bound: Bound,
}

#[derive(Clone, Copy, PartialEq)]
enum Figure {
    P50,
    Throughput,
    Cpu,
    Memory,
    /// Both nodes' proxies carry each connection.
    GrowthPerNode,
    GrowthPerUnit,
}

/// What the figure is divided by before it is compared with the bound.
#[derive(Clone, Copy, PartialEq)]
enum Reference {
    /// The same figure of the better haproxy pair. It needs the same kind of work from a machine as weft does, so the
    /// ratio says little about the machine and much about weft.
    Haproxy,
    /// The same figure of the direct variant between the same places. What a direct connection costs differs by a
    /// factor of two between machines: the bounds leave room for that.
    Direct,
    /// The same figure and variant in another case.
    Case(&'static str),
    /// Nothing: the bound is absolute.
    Nothing,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};
use Figure::{Cpu, GrowthPerNode, GrowthPerUnit, Memory, P50, Throughput};
use Reference::{Direct, Haproxy, Nothing};

pub const TARGETS: [Target; 29] = [
    target("cross-node, 2000/s: p50", "echo-2000", "weft", P50, Haproxy, AtMost(0.8)),
    target("cross-node, 2000/s: CPU per 10 000", "echo-2000", "weft", Cpu, Haproxy, AtMost(0.7)),
    target("cross-node, 32 connections: maximum", "echo-max-32", "weft", Throughput, Haproxy, AtLeast(1.4)),
    target("cross-node, 1 stream: bulk", "bulk-1", "weft", Throughput, Haproxy, AtLeast(1.4)),
    target("cross-node, new connections, 100/s: p50", "connect-100", "weft", P50, Haproxy, AtMost(0.5)),
    target("same node, 2000/s: p50", "echo-2000", "weft-same-node", P50, Direct, AtMost(2.0)),
    target(
        "same node, 32 connections: maximum",
        "echo-max-32",
        "weft-same-node",
        Throughput,
        Direct,
        AtLeast(0.45),
    ),
    target("same node, 1 stream: bulk", "bulk-1", "weft-same-node", Throughput, Direct, AtLeast(0.4)),
    target("spliced, 2000/s: p50", "echo-2000", "weft-spliced", P50, Direct, AtMost(0.9)),
    target(
        "spliced, 2000/s, one processor: p50",
        "echo-2000-shared",
        "weft-spliced",
        P50,
        Direct,
        AtMost(0.7),
    ),
    target("direct pass, 2000/s: p50", "echo-2000", "weft-direct-pass", P50, Direct, AtMost(1.25)),
    target(
        "direct pass, 1 connection: maximum",
        "echo-max-1",
        "weft-direct-pass",
        Throughput,
        Direct,
        AtLeast(0.9),
    ),
    target("HTTP/1.1, 2000/s: p50", "h1-2000", "weft", P50, Haproxy, AtMost(0.9)),
    target("HTTP/1.1, 2000/s: CPU per 10 000", "h1-2000", "weft", Cpu, Haproxy, AtMost(0.9)),
    target("HTTP/1.1, 128 connections: maximum", "h1-max-128", "weft", Throughput, Haproxy, AtLeast(1.0)),
    target("HTTP/2, 2000/s: p50", "h2-2000", "weft", P50, Haproxy, AtMost(0.9)),
    target("HTTP/2, 2000/s: CPU per 10 000", "h2-2000", "weft", Cpu, Haproxy, AtMost(0.9)),
    target("HTTP/2, 8 x 16 streams: maximum", "h2-max-8x16", "weft", Throughput, Haproxy, AtLeast(1.1)),
    target("gRPC, 2000/s: p50", "grpc-2000", "weft", P50, Haproxy, AtMost(0.9)),
    target("gRPC, 2000/s: CPU per 10 000", "grpc-2000", "weft", Cpu, Haproxy, AtMost(0.9)),
    target("gRPC, 8 x 16 streams: maximum", "grpc-max-8x16", "weft", Throughput, Haproxy, AtLeast(1.1)),
    target("same node, HTTP/1.1, 2000/s: p50", "h1-2000", "weft-same-node", P50, Haproxy, AtMost(0.6)),
    target(
        "same node, HTTP/1.1, 128 conns: maximum",
        "h1-max-128",
        "weft-same-node",
        Throughput,
        Haproxy,
        AtLeast(1.5),
    ),
    target(
        "1 000 kept-alive connections: per node",
        "http1-idle-1000",
        "weft",
        GrowthPerNode,
        Nothing,
        AtMost(25.0),
    ),
    target("1 000 000 requests: growth per node", "h1-many", "weft", GrowthPerNode, Nothing, AtMost(1.0)),
    target("100 idle workloads: memory", "workloads-100", "weft", Memory, Nothing, AtMost(60.0)),
    target(
        "1 000 idle connections: growth per node",
        "idle-1000",
        "weft",
        GrowthPerNode,
        Nothing,
        AtMost(10.0),
    ),
    target(
        "500 workloads: growth per workload",
        "workloads-500",
        "weft",
        GrowthPerUnit,
        Reference::Case("workloads-100"),
        AtMost(1.1),
    ),
    target(
        "9 000 connections: growth per connection",
        "idle-9000",
        "weft",
        GrowthPerUnit,
        Reference::Case("idle-1000"),
        AtMost(1.1),
    ),
];

const fn target(
    what: &'static str,
    case: &'static str,
    variant: &'static str,
    figure: Figure,
    reference: Reference,
    bound: Bound,
) -> Target {
    Target { what, case, variant, figure, reference, bound }
}

/// A line for each target; those that were not measured say so.
pub fn text(rows: &[Row]) -> String {
    let mut text = String::from("\n");
    line(
        &mut text,
        ["targets", "weft", "compared with", "", "ratio", "spread", "bound", "verdict"].map(str::to_owned),
    );
    for target in &TARGETS {
        line(&mut text, target.cells(rows));
    }
    text.push_str(
        "  Ratios are medians over the repetitions. Those to direct depend on the machine, those to haproxy hardly.\n",
    );
    text
}

fn line(text: &mut String, [what, own, name, other, ratio, spread, bound, verdict]: [String; 8]) {
    let line =
        format!("  {what:<41}{own:>12}   {name:<17}{other:>12}{ratio:>8}{spread:>12}   {bound:<12}{verdict}");
    let _ = writeln!(text, "{}", line.trim_end());
}

impl Target {
    fn cells(&self, rows: &[Row]) -> [String; 8] {
        let row = find(rows, self.case, self.variant);
        let reference = self.reference(rows);
        let own = row.and_then(|row| self.figure.median(row));
        let other = reference.and_then(|row| self.figure.median(row));
        let ratio = row.zip(reference).and_then(|(row, reference)| self.ratio(row, reference));
        let compared = if self.reference == Nothing { own } else { ratio.map(|ratio| ratio.median) };
        let show = |row: Option<&Row>, value: Option<f64>| {
            row.zip(value).map(|(row, value)| self.figure.show(&row.case, value)).unwrap_or_default()
        };
        [
            self.what.to_owned(),
            show(row, own),
            reference.map_or("", |row| self.reference_name(row)).to_owned(),
            show(reference, other),
            ratio.map(|ratio| format!("{:.2}", ratio.median)).unwrap_or_default(),
            ratio.filter(|_| self.is_repeated()).map(Spread::range).unwrap_or_default(),
            self.bound.text(if self.reference == Nothing { " MB" } else { "" }),
            compared.map_or("not measured", |compared| self.bound.verdict(compared)).to_owned(),
        ]
    }

    /// The row that this target's row is compared with.
    fn reference<'a>(&self, rows: &'a [Row]) -> Option<&'a Row> {
        match self.reference {
            Haproxy => self.better_haproxy(rows),
            Direct => find(rows, self.case, find(rows, self.case, self.variant)?.variant.base),
            Reference::Case(case) => find(rows, case, self.variant),
            Nothing => None,
        }
    }

    fn better_haproxy<'a>(&self, rows: &'a [Row]) -> Option<&'a Row> {
        let pairs = rows.iter().filter(|row| row.case.name == self.case && row.variant.is_haproxy());
        let measured = pairs.filter_map(|row| Some((self.figure.median(row)?, row)));
        let better = match self.bound {
            AtMost(_) => measured.min_by(|(one, _), (other, _)| one.total_cmp(other)),
            AtLeast(_) => measured.max_by(|(one, _), (other, _)| one.total_cmp(other)),
        };
        better.map(|(_, row)| row)
    }

    fn reference_name(&self, row: &Row) -> &'static str {
        match self.reference {
            Reference::Case(case) => case,
            _ => row.variant.name,
        }
    }

    /// Ratios within a repetition: a slow minute of the machine slows both.
    fn ratio(&self, row: &Row, reference: &Row) -> Option<Spread> {
        let one = |(own, other): (&Measurement, &Measurement)| {
            let other = self.figure.of(&reference.case, other)?;
            (other > 0.0).then_some(self.figure.of(&row.case, own)? / other)
        };
        Spread::of(row.measured.iter().zip(&reference.measured).filter_map(one))
    }

    /// Memory is measured once.
    fn is_repeated(&self) -> bool {
        !matches!(self.reference, Reference::Case(_))
    }
}

fn find<'a>(rows: &'a [Row], case: &str, variant: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.case.name == case && row.variant.name == variant)
}

impl Figure {
    fn median(self, row: &Row) -> Option<f64> {
        Spread::of(row.measured.iter().filter_map(|one| self.of(&row.case, one))).map(|spread| spread.median)
    }

    fn of(self, case: &Case, measured: &Measurement) -> Option<f64> {
        let growth = (measured.resident as f64 - measured.resident_before as f64) / 1e6;
        match self {
            P50 => measured.percentiles.map(|percentiles| percentiles.p50),
            Throughput => Some(measured.operations_per_second),
            Cpu => measured.cpu_per_10k(),
            Memory => Some(measured.resident as f64 / 1e6),
            GrowthPerNode => Some(growth / 2.0),
            GrowthPerUnit => Some(growth * 1e3 / case.work.units() as f64),
        }
    }

    fn show(self, case: &Case, value: f64) -> String {
        match self {
            P50 => format!("{value:.0} us"),
            Throughput if matches!(case.work, Work::Bulk { .. }) => {
                format!("{:.0} MB/s", value * BULK_OPERATION as f64 / 1e6)
            }
            Throughput => format!("{value:.0} 1/s"),
            Cpu => format!("{value:.2} s"),
            Memory | GrowthPerNode => format!("{value:.1} MB"),
            GrowthPerUnit => format!("{value:.1} kB"),
        }
    }
}

impl Bound {
    fn verdict(self, value: f64) -> &'static str {
        let is_met = match self {
            AtMost(most) => value <= most,
            AtLeast(least) => value >= least,
        };
        if is_met { "met" } else { "NOT MET" }
    }

    fn text(self, unit: &str) -> String {
        match self {
            AtMost(most) => format!("<= {most}{unit}"),
            AtLeast(least) => format!(">= {least}{unit}"),
        }
    }
}

#[cfg(test)]
mod tests;
