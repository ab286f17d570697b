//! Measures whether the proxies' memory grows over very many requests.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    case::Work,
    figures::Measurement,
    load::{self, Target},
    samples::Samples,
    testbed::Testbed,
    usage::Usage,
    variant::Route,
};

const STEP: Duration = Duration::from_millis(500);

/// "Before" is after a tenth of the requests: buffers and pools have their size by then.
pub(super) fn measure(testbed: &Testbed, route: Route, work: Work, requests: u64) -> Result<Measurement> {
    let (target, proxies): (Target, _) = (testbed.target(route)?, testbed.proxies(route)?);
    testbed.client().run(|| {
        load::pin(load::Side::Client)?;
        let mut load = load::start(work, &target)?;
        let mut run = |requests: u64| -> Result<u64> {
            let mut done = 0;
            while done < requests {
                let step = load.run(STEP, &mut Samples::default())?.operations;
                ensure!(step > 0, "no request was answered");
                done += step;
            }
            Ok(done)
        };
        let first = run(requests / 10)?;
        let resident_before = Usage::of(&proxies)?.resident;
        let operations = first + run(requests - requests / 10)?;
        let resident = Usage::of(&proxies)?.resident;
        Ok(Measurement { operations, resident_before, resident, ..Measurement::default() })
    })?
}
