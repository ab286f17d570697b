//! Runs the tests that need a real Kubernetes, after preparing its programs and weft's images.

use std::process;

use anyhow::{Context, Result};

use super::{Options, Suite, Tally, command};
use crate::{cluster, debian, host, image, steps::Steps};

/// The environment variables of tests/src/kubernetes: the folder of Kubernetes' programs and that of weft's images, or
/// why there are none.
const PROGRAMS: &str = "WEFT_KUBERNETES";
/// Of the tests that only need an API server.
const BINARIES: &str = "WEFT_KUBERNETES_BIN";
const IMAGES: &str = "WEFT_IMAGES";
const MISSING: &str = "WEFT_KUBERNETES_MISSING";

pub(super) fn run(suites: &[Suite], options: &Options, steps: &mut Steps, tally: &mut Tally) -> Result<()> {
    if options.list {
        return suites.iter().try_for_each(|suite| {
            tally.run(&suite.name, command(suite, process::Command::new(&suite.program), options))
        });
    }
    let mut selected = Vec::new();
    for suite in suites {
        if selects_any(suite, options)? {
            selected.push(suite);
        }
    }
    if selected.is_empty() {
        return Ok(());
    }
    let variables = match prepare(steps) {
        Ok([programs, images]) => vec![
            format!("{BINARIES}={programs}/bin"),
            format!("{PROGRAMS}={programs}"),
            format!("{IMAGES}={images}"),
        ],
        // Without a network or Debian this is no fault of weft's: the tests say that they were skipped, and why.
        Err(error) => vec![format!("{MISSING}={error:#}")],
    };
    steps.step("Kubernetes", "an API server, and then a cluster of two nodes on this machine", || {
        for suite in selected {
            // Root's environment is another one: variables are passed as arguments.
            let mut start = host::privileged_quietly("env", "the tests on Kubernetes")?;
            start.args(&variables).arg(&suite.program);
            tally.run(&suite.name, command(suite, start, options))?;
        }
        Ok(())
    })
}

fn selects_any(suite: &Suite, options: &Options) -> Result<bool> {
    let mut list = process::Command::new(&suite.program);
    list.args(options.filter.iter()).arg("--list");
    let output = list.output().with_context(|| suite.program.display().to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).contains(": test"))
}

/// The folders of Kubernetes' programs and of weft's images. The programs that go into these are built already.
fn prepare(steps: &mut Steps) -> Result<[String; 2]> {
    let programs = cluster::prepare(steps)?;
    let images = host::target_dir().join("images-of-tests");
    steps.step("Debian packages", "what builds images", || debian::ensure(&debian::IMAGES))?;
    image::pack(steps, false, &images)?;
    Ok([programs.display().to_string(), images.display().to_string()])
}
