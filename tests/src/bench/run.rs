//! In which order is everything measured? Variants take turns: what disturbs the machine for a while disturbs all alike.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result, ensure};

use weft_vm::link::Links;

use super::{
    case::{CASES, Case, Measures, Work},
    figures::{Measurement, Row, condense},
    ground::Ground,
    load, proof,
    samples::Samples,
    usage::Usage,
    variant::{VARIANTS, Variant},
    workloads,
};

/// How much.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often each is measured.
    pub repetitions: usize,
    /// Short measurements.
    pub is_quick: bool,
    /// How pods are joined to their nodes.
    pub links: Links,
    /// Only where "case/variant" contains it, and what that is compared with.
    pub filter: String,
    /// Where weft-proxy and weft-control are.
    pub binaries: PathBuf,
}

/// After a measurement: proxies close what it has left.
const BREATH: Duration = Duration::from_millis(30);

/// Measures what the plan says; `progress` hears of every case.
pub fn run(plan: &Plan, mut progress: impl FnMut(&str)) -> Result<Vec<Row>> {
    let chosen: Vec<_> = CASES.iter().map(|case| (*case, plan.variants(case))).collect();
    ensure!(chosen.iter().any(|(_, variants)| !variants.is_empty()), "nothing is called {:?}", plan.filter);
    let mut rows = Vec::new();
    progress("a cluster of two nodes, two pairs of haproxy");
    let mut ground = None;
    for (case, variants) in chosen.iter().filter(|(_, variants)| !variants.is_empty()) {
        progress(case.name);
        if let Work::Workloads { pods, connections } = case.work {
            let measured = workloads::measure(&plan.binaries, pods, connections).context(case.name)?;
            rows.extend(variants.iter().map(|variant| condense(case, variant, &[(measured, None)])));
            continue;
        }
        if ground.is_none() {
            let started = Ground::start(&plan.binaries, plan.links)?;
            proof::prove(&started)?;
            ground = Some(started);
        }
        if let Some(ground) = &ground {
            rows.extend(plan.case(ground, case, variants).context(case.name)?);
        }
    }
    ground.map_or(Ok(()), Ground::stop)?;
    Ok(rows)
}

impl Plan {
    /// The variants of a case that are wanted, or needed to compare with.
    fn variants(&self, case: &Case) -> Vec<Variant> {
        let applies = |variant: &Variant| match case.work {
            Work::Workloads { .. } => variant.name == "weft",
            _ => case.measures() != Measures::Memory || variant.has_proxies(),
        };
        let wanted = |variant: &Variant| format!("{}/{}", case.name, variant.name).contains(&self.filter);
        let compared =
            |base: &Variant| VARIANTS.iter().any(|v| applies(v) && wanted(v) && v.base == base.name);
        VARIANTS.into_iter().filter(|v| applies(v) && (wanted(v) || compared(v))).collect()
    }

    fn case(&self, ground: &Ground, case: &Case, variants: &[Variant]) -> Result<Vec<Row>> {
        // Memory grows once.
        let repetitions = if case.measures() == Measures::Memory { 1 } else { self.repetitions };
        let mut measured = vec![Vec::new(); variants.len()];
        for repetition in 0..repetitions {
            for turn in 0..variants.len() {
                // Each is the first, the second … once: none has always the same neighbour in time.
                let index = (turn + repetition) % variants.len();
                let variant = &variants[index];
                let one = self.measure(ground, case, variant).with_context(|| variant.name.to_owned())?;
                measured[index].push(one);
                thread::sleep(BREATH);
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

    fn measure(&self, ground: &Ground, case: &Case, variant: &Variant) -> Result<Measurement> {
        if case.measures() == Measures::Memory {
            ground.refresh(variant.route)?;
        }
        ground.pave(variant.route)?;
        let target = ground.target(variant.route)?;
        let proxies = ground.proxies(variant.route)?;
        let (warm_up, duration) = self.durations(case);
        let counted = ground.metrics()?;
        let measurement = ground.client().run(|| -> Result<Measurement> {
            load::settle(if case.is_shared { load::Side::Server } else { load::Side::Client })?;
            let mut samples = Samples::with_room(if case.is_timed() { 1 << 20 } else { 0 });
            let resident_before = Usage::of(&proxies)?.resident;
            let mut load = load::start(case.work, &target)?;
            load.run(warm_up, &mut Samples::with_room(samples.capacity()))?;
            let before = Usage::of(&proxies)?;
            let done = load.run(duration, &mut samples)?;
            let after = Usage::of(&proxies)?;
            Ok(Measurement {
                percentiles: samples.percentiles(),
                operations_per_second: done.operations as f64 / done.elapsed.as_secs_f64(),
                processor: after.processor_since(&before),
                operations: done.operations,
                resident_before,
                resident: after.resident,
            })
        })??;
        proof::went(ground, variant.route, case.work, measurement.operations, &counted)?;
        Ok(measurement)
    }

    /// For how long the proxies get warm, and for how long is measured.
    fn durations(&self, case: &Case) -> (Duration, Duration) {
        let milliseconds =
            |warm_up, duration| (Duration::from_millis(warm_up), Duration::from_millis(duration));
        match (case.work, self.is_quick) {
            (Work::Idle { .. } | Work::Workloads { .. }, _) => milliseconds(0, 300),
            (Work::Echo { rate: Some(..=20), .. }, true) => milliseconds(100, 900),
            (Work::Echo { rate: Some(..=20), .. }, false) => milliseconds(300, 6000),
            (_, true) => milliseconds(80, 320),
            (_, false) => milliseconds(400, 3000),
        }
    }
}
