//! Runs the tests that need a real Kubernetes, after preparing its programs and weft's images.

use std::{path::PathBuf, process};

use anyhow::{Context, Result};

use super::{Options, Suite, command};
use crate::{debian, host, image, steps::Steps};

/// The environment variables of tests/src/kubernetes: the folder of Kubernetes' programs and that of weft's images, or
/// why there are none.
const PROGRAMS: &str = "WEFT_KUBERNETES";
/// Of the tests that only need an API server.
const BINARIES: &str = "WEFT_KUBERNETES_BIN";
const IMAGES: &str = "WEFT_IMAGES";
const MISSING: &str = "WEFT_KUBERNETES_MISSING";

/// What runs the selected suites, by their names. Prepares what they need.
pub(super) fn commands(
    suites: &[Suite],
    options: &Options,
    steps: &mut Steps,
) -> Result<Vec<(String, process::Command)>> {
    let start = |suite: &Suite, start| (suite.name.clone(), command(suite, start, options));
    if options.list {
        return Ok(suites.iter().map(|suite| start(suite, process::Command::new(&suite.program))).collect());
    }
    let mut selected = Vec::new();
    for suite in suites {
        if selects_any(suite, options)? {
            selected.push(suite);
        }
    }
    if selected.is_empty() {
        return Ok(Vec::new());
    }
    let variables = match prepare(steps) {
        Ok([programs, images]) => {
            // A mistake in weft's images is weft's fault.
            image::pack(steps, false, &images)?;
            let (programs, images) = (programs.display(), images.display());
            vec![
                format!("{BINARIES}={programs}/bin"),
                format!("{PROGRAMS}={programs}"),
                format!("{IMAGES}={images}"),
            ]
        }
        // Without a network or Debian this is no fault of weft's: the tests say that they were skipped, and why.
        Err(error) => vec![format!("{MISSING}={error:#}")],
    };
    let commands = selected.into_iter().map(|suite| {
        // Root's environment is another one: variables are passed as arguments.
        let mut env = host::privileged_quietly("env", "the tests on Kubernetes")?;
        env.args(&variables).arg(&suite.program);
        Ok(start(suite, env))
    });
    commands.collect()
}

fn selects_any(suite: &Suite, options: &Options) -> Result<bool> {
    let mut list = process::Command::new(&suite.program);
    list.args(options.filter.iter()).arg("--list");
    let output = list.output().with_context(|| suite.program.display().to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).contains(": test"))
}

/// The folders of Kubernetes' programs, and for weft's images. The programs that go into these are built already.
fn prepare(steps: &mut Steps) -> Result<[PathBuf; 2]> {
    // weft-cluster is built already, with the tests: building it alone would compile with other features.
    debian::ensure(&debian::BUILD)?;
    let programs = crate::kubernetes::prepare(steps)?;
    let images = host::target_dir().join("images-of-tests");
    steps.step("Debian packages", "what builds images", || debian::ensure(&debian::IMAGES))?;
    Ok([programs, images])
}
