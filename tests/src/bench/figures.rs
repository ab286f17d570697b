//! Condenses the measurements of all repetitions into one row per case and variant.

use std::time::Duration;

use super::{
    case::{Case, Measures},
    samples::Percentiles,
    variant::Variant,
};

/// One measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measurement {
    /// Of single operations, where they are timed.
    pub percentiles: Option<Percentiles>,
    pub operations_per_second: f64,
    pub operations: u64,
    /// CPU time of all proxies together.
    pub processor: Duration,
    /// Memory of all proxies together before the first connection, in bytes.
    pub resident_before: u64,
    /// The same at the end.
    pub resident: u64,
}

/// The figures of a case and a variant: medians over the repetitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub case: Case,
    pub variant: Variant,
    /// One for each repetition.
    pub measured: Vec<Measurement>,
    pub percentiles: Option<Percentiles>,
    /// p50 divided by the base's.
    pub p50_ratio: Option<Spread>,
    /// Operations per second.
    pub throughput: Option<f64>,
    /// Throughput divided by the base's.
    pub throughput_ratio: Option<Spread>,
    /// CPU seconds of all proxies for 10 000 operations.
    pub cpu_per_10k: Option<f64>,
    /// Memory of all proxies in megabytes, before and at the end.
    pub resident: Option<(f64, f64)>,
}

/// A median with the least and the greatest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Measurement {
    /// CPU seconds of all proxies for 10 000 operations.
    pub fn cpu_per_10k(&self) -> Option<f64> {
        (self.operations > 0).then(|| self.processor.as_secs_f64() * 1e4 / self.operations as f64)
    }
}

impl Spread {
    /// `None` if there are no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }

    /// As it is shown beside the median.
    pub fn range(self) -> String {
        format!("{:.2}-{:.2}", self.min, self.max)
    }
}

/// The row of a variant's measurements, each beside that of its base in the same repetition.
pub fn condense(case: &Case, variant: &Variant, measured: &[(Measurement, Option<Measurement>)]) -> Row {
    let median = |of: &dyn Fn(&Measurement) -> Option<f64>| {
        Spread::of(measured.iter().filter_map(|(own, _)| of(own))).map(|spread| spread.median)
    };
    // Ratios within a repetition, then the median: a slow minute of the machine slows both.
    let ratio = |of: &dyn Fn(&Measurement) -> Option<f64>| {
        let one = |(own, base): &(Measurement, Option<Measurement>)| {
            let base = of(base.as_ref()?)?;
            (base > 0.0).then_some(of(own)? / base)
        };
        Spread::of(measured.iter().filter_map(one))
    };
    let percentile = |of: fn(&Percentiles) -> f64| median(&|m| m.percentiles.as_ref().map(of));
    let percentiles = || {
        Some(Percentiles {
            p50: percentile(|p| p.p50)?,
            p90: percentile(|p| p.p90)?,
            p99: percentile(|p| p.p99)?,
            p999: percentile(|p| p.p999)?,
        })
    };
    let moves = case.measures() != Measures::Memory;
    let throughput = |m: &Measurement| moves.then_some(m.operations_per_second);
    let cpu = |m: &Measurement| m.cpu_per_10k().filter(|_| moves);
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let resident = || {
        Some((median(&|m| Some(megabytes(m.resident_before)))?, median(&|m| Some(megabytes(m.resident)))?))
    };
    Row {
        case: *case,
        variant: *variant,
        measured: measured.iter().map(|(own, _)| *own).collect(),
        percentiles: percentiles(),
        p50_ratio: ratio(&|m| m.percentiles.map(|p| p.p50)),
        throughput: median(&throughput),
        throughput_ratio: ratio(&throughput),
        cpu_per_10k: median(&cpu).filter(|_| variant.has_proxies()),
        resident: resident().filter(|_| variant.has_proxies()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{case::CASES, variant::VARIANTS};

    fn measurement(p50: f64, per_second: f64) -> Measurement {
        Measurement {
            percentiles: Some(Percentiles { p50, p90: 2.0 * p50, p99: 3.0 * p50, p999: 4.0 * p50 }),
            operations_per_second: per_second,
            operations: 20_000,
            processor: Duration::from_secs(3),
            resident_before: 10_000_000,
            resident: 12_000_000,
        }
    }

    fn case(name: &str) -> Case {
        *CASES.iter().find(|case| case.name == name).expect("case")
    }

    #[test]
    fn a_spread_is_median_least_and_greatest() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(spread(&[4.0, 2.0]), Some(Spread { median: 3.0, min: 2.0, max: 4.0 }));
    }

    #[test]
    fn ratios_are_those_of_the_same_repetition() {
        // The machine was five times slower in the second repetition, which does not show in the ratios.
        let measured = [
            (measurement(20.0, 50.0), Some(measurement(10.0, 100.0))),
            (measurement(110.0, 8.0), Some(measurement(50.0, 20.0))),
            (measurement(21.0, 60.0), Some(measurement(10.0, 100.0))),
        ];
        let row = condense(&case("echo-2000"), &VARIANTS[1], &measured);
        let ratio = row.p50_ratio.expect("ratio");
        assert!((ratio.median - 2.1).abs() < 1e-9 && (ratio.min - 2.0).abs() < 1e-9, "{ratio:?}");
        assert!((row.throughput_ratio.expect("ratio").median - 0.5).abs() < 1e-9);
        assert_eq!(row.percentiles.expect("percentiles").p50, 21.0);
        assert_eq!(row.cpu_per_10k, Some(1.5));
        assert_eq!(row.resident, Some((10.0, 12.0)));
    }

    #[test]
    fn a_variant_without_proxies_has_no_cpu_and_no_memory() {
        let row = condense(&case("echo-2000"), &VARIANTS[0], &[(measurement(1.0, 1.0), None)]);
        assert_eq!((row.cpu_per_10k, row.resident), (None, None));
        assert_eq!(row.p50_ratio, None);
    }

    #[test]
    fn a_memory_case_has_no_throughput() {
        let memory = Measurement { resident: 7_000_000, ..Measurement::default() };
        let row = condense(&case("idle-1000"), &VARIANTS[1], &[(memory, None)]);
        assert_eq!((row.throughput, row.percentiles, row.cpu_per_10k), (None, None, None));
        assert_eq!(row.resident, Some((0.0, 7.0)));
    }
}
