//! Measures all cases. The variants of a case take turns, so that a disturbance of the machine affects all of them.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result, ensure};

use weft_vm::link::Links;

use super::{
    case::{CASES, Case, Measures, Work},
    figures::{Measurement, Row, condense},
    h2load, load, many, proof,
    samples::Samples,
    testbed::Testbed,
    usage::Usage,
    variant::{VARIANTS, Variant},
    workloads,
};

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    pub repetitions: usize,
    /// Short measurements.
    pub is_quick: bool,
    /// Checks maxima of HTTP with h2load.
    pub is_checked: bool,
    /// How pods are connected to their nodes.
    pub links: Links,
    pub selection: Selection,
    /// The folder of weft-proxy and weft-control.
    pub binaries: PathBuf,
}

/// Which cases and variants are measured; empty parts select all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// A part of `CASE/VARIANT`.
    pub filter: String,
    /// Whole names.
    pub cases: Vec<String>,
    /// Whole names.
    pub variants: Vec<String>,
}

/// Time for the proxies to close the connections of a measurement.
const PAUSE: Duration = Duration::from_millis(30);

/// Measures what the plan says and reports every case to `progress`.
pub fn run(plan: &Plan, mut progress: impl FnMut(&str)) -> Result<Vec<Row>> {
    let chosen: Vec<_> = CASES.iter().map(|case| (*case, plan.variants(case))).collect();
    ensure!(chosen.iter().any(|(_, variants)| !variants.is_empty()), "no case and variant match");
    let mut rows = Vec::new();
    progress(&plan.summary(&chosen));
    progress("a cluster of two nodes, two pairs of haproxy, a pair of nginx");
    let mut testbed = None;
    for (case, variants) in chosen.iter().filter(|(_, variants)| !variants.is_empty()) {
        progress(case.name);
        if let Work::Workloads { pods, connections } = case.work {
            let measured = workloads::measure(&plan.binaries, pods, connections).context(case.name)?;
            rows.extend(variants.iter().map(|variant| condense(case, variant, &[(measured, None)])));
            continue;
        }
        if testbed.is_none() {
            let started = Testbed::start(&plan.binaries, plan.links)?;
            proof::prove(&started)?;
            testbed = Some(started);
        }
        if let Some(testbed) = &testbed {
            rows.extend(plan.case(testbed, case, variants, &mut progress).context(case.name)?);
        }
    }
    testbed.map_or(Ok(()), Testbed::stop)?;
    Ok(rows)
}

impl Selection {
    fn includes(&self, case: &str, variant: &str) -> bool {
        let listed =
            |names: &[String], name: &str| names.is_empty() || names.iter().any(|other| other == name);
        listed(&self.cases, case)
            && listed(&self.variants, variant)
            && format!("{case}/{variant}").contains(&self.filter)
    }
}

impl Plan {
    /// The variants of a case that are selected, and those that they are compared with.
    fn variants(&self, case: &Case) -> Vec<Variant> {
        let applies = |variant: &Variant| match case.work {
            Work::Workloads { .. } => variant.name == "weft",
            Work::HttpMany { .. } => variant.name == "weft",
            _ => {
                variant.route.kinds().contains(&case.work.kind())
                    && (case.measures() != Measures::Memory || variant.has_proxies())
            }
        };
        let wanted = |variant: &Variant| self.selection.includes(case.name, variant.name);
        let compared =
            |base: &Variant| VARIANTS.iter().any(|v| applies(v) && wanted(v) && v.base == base.name);
        VARIANTS.into_iter().filter(|v| applies(v) && (wanted(v) || compared(v))).collect()
    }

    /// How much there is to do. What surrounds a measurement was found by experience.
    fn summary(&self, chosen: &[(Case, Vec<Variant>)]) -> String {
        let (mut cases, mut measurements, mut seconds) = (0, 0, 10.0);
        for (case, variants) in chosen.iter().filter(|(_, variants)| !variants.is_empty()) {
            let (warm_up, duration) = self.durations(case);
            let around = match case.work {
                Work::Workloads { .. } => 15.0,
                Work::HttpMany { requests, .. } => requests as f64 / if self.is_quick { 2e5 } else { 2e4 },
                Work::Idle { .. } | Work::HttpIdle { .. } => 4.0,
                _ => 0.15,
            };
            let times = variants.len() * self.repetitions(case);
            cases += 1;
            measurements += times;
            seconds += times as f64 * ((warm_up + duration).as_secs_f64() + around);
        }
        format!("{cases} cases, {measurements} measurements, about {:.0} min", (seconds / 60.0).max(1.0))
    }

    fn repetitions(&self, case: &Case) -> usize {
        // Memory does not shrink again.
        if case.measures() == Measures::Memory { 1 } else { self.repetitions }
    }

    fn case(
        &self,
        testbed: &Testbed,
        case: &Case,
        variants: &[Variant],
        progress: &mut impl FnMut(&str),
    ) -> Result<Vec<Row>> {
        let repetitions = self.repetitions(case);
        let mut measured = vec![Vec::new(); variants.len()];
        for repetition in 0..repetitions {
            for turn in 0..variants.len() {
                // The order rotates, so that no variant always follows the same one.
                let index = (turn + repetition) % variants.len();
                let variant = &variants[index];
                let one = self.measure(testbed, case, variant).with_context(|| variant.name.to_owned())?;
                measured[index].push(one);
                if self.is_checked && repetition == 0 {
                    let found = h2load::measure(testbed, variant.route, case.work, self.durations(case).1)
                        .with_context(|| variant.name.to_owned())?;
                    let own = one.operations_per_second;
                    if let Some(found) = found {
                        progress(&format!(
                            "  {}: h2load {found:.0} 1/s, own generator {own:.0}",
                            variant.name
                        ));
                    }
                }
                thread::sleep(PAUSE);
            }
        }
        let base = |variant: &Variant| variants.iter().position(|other| other.name == variant.base);
        let row = |(variant, own): (&Variant, &Vec<Measurement>)| {
            let base = base(variant).map(|index| &measured[index]);
            let pairs = own.iter().enumerate();
            let pairs: Vec<_> =
                pairs.map(|(n, own)| (*own, base.and_then(|base| base.get(n).copied()))).collect();
            condense(case, variant, &pairs)
        };
        Ok(variants.iter().zip(&measured).map(row).collect())
    }

    fn measure(&self, testbed: &Testbed, case: &Case, variant: &Variant) -> Result<Measurement> {
        if case.measures() == Measures::Memory {
            testbed.restart_proxies(variant.route)?;
        }
        testbed.establish_direct_path(variant.route)?;
        let target = testbed.target(variant.route)?;
        let proxies = testbed.proxies(variant.route)?;
        let (warm_up, duration) = self.durations(case);
        let counters = testbed.metrics()?;
        if let Work::HttpMany { requests, .. } = case.work {
            let requests = if self.is_quick { requests / 10 } else { requests };
            let measurement = many::measure(testbed, variant.route, case.work, requests)?;
            proof::check(testbed, variant.route, case.work, measurement.operations, &counters)?;
            return Ok(measurement);
        }
        let (measurement, operations) = testbed.client().run(|| -> Result<_> {
            load::pin(if case.is_shared { load::Side::Server } else { load::Side::Client })?;
            let mut samples = Samples::with_room(if case.is_timed() { 1 << 20 } else { 0 });
            let resident_before = Usage::of(&proxies)?.resident;
            let mut load = load::start(case.work, &target)?;
            let warmed = load.run(warm_up, &mut Samples::with_room(samples.capacity()))?;
            let before = Usage::of(&proxies)?;
            let done = load.run(duration, &mut samples)?;
            let after = Usage::of(&proxies)?;
            let measurement = Measurement {
                percentiles: samples.percentiles(),
                operations_per_second: done.operations as f64 / done.elapsed.as_secs_f64(),
                processor: after.processor_since(&before),
                operations: done.operations,
                resident_before,
                resident: after.resident,
            };
            let requests = match case.work {
                Work::Http { .. } => warmed.operations + done.operations,
                _ => done.operations,
            };
            Ok((measurement, requests))
        })??;
        proof::check(testbed, variant.route, case.work, operations, &counters)?;
        Ok(measurement)
    }

    /// How long the warm-up and the measurement take.
    fn durations(&self, case: &Case) -> (Duration, Duration) {
        let milliseconds =
            |warm_up, duration| (Duration::from_millis(warm_up), Duration::from_millis(duration));
        match (case.work, self.is_quick) {
            (Work::HttpMany { .. }, _) => milliseconds(0, 0),
            (Work::Idle { .. } | Work::HttpIdle { .. } | Work::Workloads { .. }, _) => milliseconds(0, 300),
            (Work::Echo { rate: Some(..=20), .. } | Work::Http { rate: Some(..=20), .. }, true) => {
                milliseconds(100, 900)
            }
            (Work::Http { rate: Some(..=20), .. }, false) => milliseconds(300, 3000),
            (Work::Http { .. }, false) => milliseconds(400, 1600),
            (Work::Echo { rate: Some(..=20), .. }, false) => milliseconds(300, 6000),
            (_, true) => milliseconds(80, 320),
            (_, false) => milliseconds(400, 3000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_the_variants_that_reach_its_server() {
        let plan = Plan {
            repetitions: 2,
            is_quick: true,
            is_checked: false,
            links: Links::Bridge,
            selection: Selection::default(),
            binaries: PathBuf::new(),
        };
        let names = |case: &str| {
            let case = CASES.iter().find(|other| other.name == case).expect("case");
            plan.variants(case).iter().map(|variant| variant.name).collect::<Vec<_>>()
        };
        let http = ["direct", "weft", "haproxy-1", "haproxy", "nginx", "direct-same-node", "weft-same-node"];
        assert_eq!(names("h1-2000"), http);
        assert_eq!(names("grpc-max-8x16"), http);
        assert_eq!(names("h1-many"), ["weft"]);
        assert!(!names("http1-idle-1000").contains(&"direct"));
        assert!(names("echo-2000").contains(&"weft-spliced") && !names("echo-2000").contains(&"nginx"));
    }

    #[test]
    fn a_selection_takes_whole_names_and_a_part_of_both() {
        let of = |filter: &str, cases: &[&str], variants: &[&str]| Selection {
            filter: filter.to_owned(),
            cases: cases.iter().map(ToString::to_string).collect(),
            variants: variants.iter().map(ToString::to_string).collect(),
        };
        assert!(Selection::default().includes("bulk-1", "weft"));
        assert!(of("2000/weft", &[], &[]).includes("echo-2000", "weft-spliced"));
        assert!(!of("2000/weft", &[], &[]).includes("echo-200", "weft"));
        assert!(of("", &["bulk-1"], &["weft"]).includes("bulk-1", "weft"));
        assert!(!of("", &["bulk-1"], &["weft"]).includes("bulk-1", "weft-spliced"));
        assert!(!of("", &["bulk-1"], &[]).includes("bulk-8", "weft"));
    }
}
