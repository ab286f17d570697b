//! A latency histogram as Prometheus has it: cumulative buckets, and quantiles interpolated within a bucket.

use std::collections::BTreeMap;

/// Counts by upper bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    /// Keyed by the bits of the bound, which for numbers from 0 on are in the order of the numbers.
    counts: BTreeMap<u64, f64>,
}

impl Histogram {
    /// Adds to the bucket with the upper bound `le`, as the label has it. Other text than a number is ignored.
    pub(super) fn add(&mut self, le: &str, count: f64) {
        match le.parse::<f64>() {
            Ok(bound) if bound >= 0.0 => *self.counts.entry(bound.to_bits()).or_default() += count,
            _ => {}
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (bound, count) in &other.counts {
            *self.counts.entry(*bound).or_default() += count;
        }
    }

    /// The value below which this part of the observations is; None: there are none, or the last bucket is missing.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        let total = *self.counts.get(&f64::INFINITY.to_bits())?;
        if total <= 0.0 {
            return None;
        }
        let rank = part * total;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.counts {
            let upper = f64::from_bits(*bound);
            if *count >= rank {
                // Beyond the largest finite bound, nothing is known but that bound.
                let share =
                    if upper.is_finite() { (rank - below) / (count - below) } else { return Some(lower) };
                return Some(lower + (upper - lower) * share);
            }
            (lower, below) = (upper, *count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(&str, f64)]) -> Histogram {
        let mut histogram = Histogram::default();
        buckets.iter().for_each(|(le, count)| histogram.add(le, *count));
        histogram
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        // 60 below 1, 30 from 5 to 10, 10 from 10 to 20.
        let latency = histogram(&[("1", 60.0), ("5", 60.0), ("10", 90.0), ("20", 100.0), ("+Inf", 100.0)]);
        assert_eq!(latency.quantile(0.3), Some(0.5));
        assert_eq!(latency.quantile(0.5), Some(50.0 / 60.0));
        assert_eq!(latency.quantile(0.75), Some(7.5));
        assert_eq!(latency.quantile(0.95), Some(15.0));
    }

    #[test]
    fn the_last_bucket_has_no_upper_bound() {
        let slow = histogram(&[("10", 0.0), ("50000", 1.0), ("+Inf", 10.0)]);
        assert_eq!(slow.quantile(0.99), Some(50_000.0));
        assert_eq!(histogram(&[("10", 0.0), ("+Inf", 0.0)]).quantile(0.5), None);
        assert_eq!(histogram(&[("10", 5.0), ("x", 1.0)]).quantile(0.5), None);
    }
}
