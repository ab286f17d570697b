//! How are weft's programs built, and where are they then?

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};

use crate::{Command, debian, host, steps::Steps, toolchain};

pub(crate) const COMMAND: Command = Command {
    name: "build",
    arguments: "[--release]",
    what: "Sets up the compilers and builds every program, the eBPF object inside weft-proxy.",
    why: "The first command on a new machine; after it a plain cargo build works too.",
    example: "cargo xtask build --release",
    run,
};

const PROGRAMS: [&str; 4] = ["weft-proxy", "weft-control", "weft-demo", "weft-vm"];

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    let mut release = false;
    for argument in arguments {
        match argument.as_str() {
            "--release" => release = true,
            other => bail!("build knows --release, not {other:?}"),
        }
    }
    let mut steps = Steps::default();
    prepare(&mut steps)?;
    programs(&mut steps, release)?;
    println!("\nBuilt:");
    for program in PROGRAMS {
        println!("  {}", folder(release).join(program).display());
    }
    Ok(ExitCode::SUCCESS)
}

/// What a build needs.
pub(crate) fn prepare(steps: &mut Steps) -> Result<()> {
    steps.step("C compiler", "the cryptography is C and assembler", || debian::ensure(&debian::BUILD))?;
    steps.step("eBPF toolchain", "compiles the kernel side", toolchain::ensure).map(drop)
}

/// Builds the programs.
pub(crate) fn programs(steps: &mut Steps, release: bool) -> Result<()> {
    let why =
        if release { "release, with LTO: takes minutes" } else { "the dev profile; dependencies optimized" };
    steps.step("build", why, || {
        let mut cargo = host::cargo();
        // All of the workspace, as tests are built: the same features, so nothing is compiled twice.
        cargo.args(["build", "--workspace", "--bins", "--exclude", "xtask"]);
        if release {
            cargo.arg("--release");
        }
        host::stream(&mut cargo)
    })
}

/// Where cargo puts the programs.
pub(crate) fn folder(release: bool) -> PathBuf {
    host::target_dir().join(if release { "release" } else { "debug" })
}
