//! `cargo xtask bench control`: measures weft-control with a real API server and the streams of 100 nodes.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{build, debian, host, kubernetes, steps::Steps};

/// In control/examples.
const PROGRAM: &str = "cluster_scale";

struct Options {
    is_release: bool,
    pods: Option<String>,
}

fn parse(arguments: Vec<String>) -> Result<Options> {
    let mut options = Options { is_release: true, pods: None };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--profile" => match arguments.next().as_deref() {
                Some("dev") => options.is_release = false,
                Some("release") => options.is_release = true,
                _ => bail!("--profile is dev or release"),
            },
            "--pods" => {
                let numbers = arguments.next().context("--pods needs numbers, as in 1000,10000")?;
                options.pods = Some(numbers);
            }
            other => bail!("bench control knows --pods and --profile, not {other:?}"),
        }
    }
    Ok(options)
}

pub(super) fn run(arguments: Vec<String>) -> Result<ExitCode> {
    let options = parse(arguments)?;
    let mut steps = Steps::default();
    steps.step("C compiler", "the cryptography library is written in C and assembler", || {
        debian::ensure(&debian::BUILD)
    })?;
    let programs = kubernetes::prepare(&mut steps)?;
    let why = if options.is_release { "release profile with LTO: takes minutes" } else { "dev profile" };
    steps.step("build", why, || {
        let mut cargo = host::cargo();
        cargo.args(["build", "--package", "weft-control", "--bin", "weft-control", "--example", PROGRAM]);
        if options.is_release {
            cargo.arg("--release");
        }
        host::stream(&mut cargo)
    })?;
    println!("==> bench control: about five minutes; keep the machine quiet");
    let folder = build::folder(options.is_release);
    // It starts the API server in a mount namespace of its own.
    let mut bench =
        host::privileged(folder.join("examples").join(PROGRAM), "a namespace for the API server")?;
    bench.arg("--control").arg(folder.join("weft-control"));
    bench.args(["--build", if options.is_release { "release" } else { "dev" }]);
    bench.args(options.pods.iter().flat_map(|pods| ["--pods", pods]));
    bench.arg("--programs").arg(programs.join("bin"));
    host::stream(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_others_refused() {
        let words = |words: &[&str]| parse(words.iter().map(ToString::to_string).collect());
        let options = words(&["--profile", "dev", "--pods", "1000"]).expect("options");
        assert!(!options.is_release);
        assert_eq!(options.pods.as_deref(), Some("1000"));
        assert!(words(&[]).expect("options").is_release);
        for nonsense in [&["--quick"][..], &["--pods"], &["--profile", "fast"], &["x"]] {
            assert!(words(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
