//! Runs the tests that need a real Kubernetes, after preparing its programs and weft's images.

use std::process;

use anyhow::{Context, Result};

use super::{Options, Suite, Tally, command};
use crate::{cluster, debian, host, image, steps::Steps};

/// The environment variables of tests/src/kubernetes: the folder of Kubernetes' programs and that of weft's images, or
/// why there are none.
const PROGRAMS: &str = "WEFT_KUBERNETES";
const IMAGES: &str = "WEFT_IMAGES";
const MISSING: &str = "WEFT_KUBERNETES_MISSING";

pub(super) fn run(suite: &Suite, options: &Options, steps: &mut Steps, tally: &mut Tally) -> Result<()> {
    if options.list {
        return tally.run(&suite.name, command(suite, process::Command::new(&suite.program), options));
    }
    if !selects_any(suite, options)? {
        return Ok(());
    }
    // Root's environment is another one: variables are passed as arguments.
    let mut start = host::privileged_quietly("env", "the tests on Kubernetes")?;
    match prepare(steps) {
        Ok([programs, images]) => {
            start.args([format!("{PROGRAMS}={programs}"), format!("{IMAGES}={images}")])
        }
        // Without a network or Debian this is no fault of weft's: the tests say that they were skipped, and why.
        Err(error) => start.arg(format!("{MISSING}={error:#}")),
    };
    start.arg(&suite.program);
    steps.step("Kubernetes", "a cluster of two nodes on this machine", || {
        tally.run(&suite.name, command(suite, start, options))
    })
}

fn selects_any(suite: &Suite, options: &Options) -> Result<bool> {
    let mut list = process::Command::new(&suite.program);
    list.args(options.filter.iter()).arg("--list");
    let output = list.output().with_context(|| suite.program.display().to_string())?;
    Ok(!output.stdout.is_empty())
}

/// The folders of Kubernetes' programs and of weft's images. The programs that go into these are built already.
fn prepare(steps: &mut Steps) -> Result<[String; 2]> {
    let programs = cluster::prepare(steps)?;
    let images = host::target_dir().join("images-of-tests");
    steps.step("Debian packages", "what builds images", || debian::ensure(&debian::IMAGES))?;
    image::pack(steps, false, &images)?;
    Ok([programs.display().to_string(), images.display().to_string()])
}
