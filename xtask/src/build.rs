//! `cargo xtask build`: builds weft's programs and says where they are.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};

use crate::{Command, debian, frontend, host, steps::Steps, toolchain};

pub(crate) const COMMAND: Command = Command {
    name: "build",
    arguments: "[--release]",
    what: "Sets up the compilers and builds weft's programs; weft-proxy contains the eBPF object.",
    why: "The first command on a new machine. After it a plain cargo build works too.",
    example: "cargo xtask build --release",
    run,
};

/// The packages of weft's programs.
pub(crate) const PROGRAMS: [&str; 7] =
    ["weft-proxy", "weft-control", "weft-demo", "weft-viz", "weft-vm", "weft-cluster", "weft-cli"];
/// With weft-bench and weft-soak.
pub(crate) const WITH_TESTS: [&str; 8] = [
    "weft-proxy",
    "weft-control",
    "weft-demo",
    "weft-viz",
    "weft-vm",
    "weft-cluster",
    "weft-cli",
    "weft-tests",
];

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
    programs(&mut steps, &PROGRAMS, release)?;
    println!("\nBuilt:");
    for program in PROGRAMS {
        // The command-line tool is called weft.
        let name = if program == "weft-cli" { "weft" } else { program };
        println!("  {}", folder(release).join(name).display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Installs the compilers, and builds what programs contain.
pub(crate) fn prepare(steps: &mut Steps) -> Result<()> {
    steps.step("C compiler", "the cryptography library is written in C and assembler", || {
        debian::ensure(&debian::BUILD)
    })?;
    steps.step("eBPF toolchain", "compiles the eBPF programs", toolchain::ensure)?;
    frontend::build(steps)
}

/// Builds the programs of packages.
pub(crate) fn programs(steps: &mut Steps, packages: &[&str], release: bool) -> Result<()> {
    let why = if release { "release profile with LTO: takes minutes" } else { "dev profile" };
    steps.step("build", why, || {
        let mut cargo = host::cargo();
        // Not the workspace: the tests have more dependencies. Features are the same, so that nothing is compiled again
        // for `test`.
        cargo.args(["build", "--bins"]).args(packages.iter().flat_map(|package| ["--package", package]));
        if release {
            cargo.arg("--release");
        }
        host::stream(&mut cargo)
    })
}

pub(crate) fn folder(release: bool) -> PathBuf {
    host::target_dir().join(if release { "release" } else { "debug" })
}
