//! Is the code as this project wants it, as far as a program can tell?

mod files;
mod licences;

use std::{
    path::Path,
    process::{self, ExitCode},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};

use crate::{Command, build, ebpf, host, steps, steps::Steps, toolchain};

pub(crate) const COMMAND: Command = Command {
    name: "lint",
    arguments: "",
    what: "Checks format, clippy, the eBPF crate's warnings, licences, sizes of files and places of unsafe code.",
    why: "What CI checks before the tests; goes on after a failure, to show them all.",
    example: "cargo xtask lint",
    run,
};

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    if let Some(argument) = arguments.first() {
        bail!("lint takes no arguments, and there is {argument:?}");
    }
    let mut steps = Steps::default();
    steps.step("rustfmt and clippy", "components of the compiler", components)?;
    build::prepare(&mut steps)?;
    let results = [
        steps.step("format", "one layout, by rustfmt.toml", format),
        steps.step("files", "at most 400 lines; unsafe only where the kernel is spoken to", files::check),
        steps.step("licences", "every dependency's is allowed by deny.toml", licences::check),
        steps.step("eBPF", "the kernel side compiles without a warning", kernel_side),
        steps.step("clippy", "all targets, warnings are errors", clippy),
    ];
    steps.print_times();
    println!();
    let mut failed = 0;
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        println!("failed: {error:#}");
        failed += 1;
    }
    println!("lint: {} good, {failed} bad", results.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes sure of cargo fmt and cargo clippy.
fn components() -> Result<()> {
    let there =
        |name: &str| host::cargo().args([name, "--version"]).output().is_ok_and(|o| o.status.success());
    if there("fmt") && there("clippy") {
        println!("    all there");
        return Ok(());
    }
    let Some(rustup) = host::which("rustup") else {
        bail!("cargo fmt or cargo clippy is missing: apt-get install rustfmt rust-clippy, or use rustup");
    };
    let mut command = process::Command::new(rustup);
    command.args(["component", "add", "rustfmt", "clippy"]).current_dir(host::root());
    steps::quiet(&mut command, "rustup-components", Duration::from_secs(300))
}

fn format() -> Result<()> {
    host::stream(host::cargo().args(["fmt", "--all", "--check"]))?;
    host::stream(host::cargo().args(["fmt", "--all", "--check", "--manifest-path", "proxy-ebpf/Cargo.toml"]))
}

fn clippy() -> Result<()> {
    host::stream(host::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// In the folder that the build script of the proxy uses too: cargo repeats the warnings of what it need not compile.
fn kernel_side() -> Result<()> {
    let tools = toolchain::ensure()?;
    let source: &Path = &host::root().join("proxy-ebpf");
    let compiled =
        ebpf::compile(&tools, source, &host::target_dir().join("ebpf")).map_err(|error| anyhow!(error))?;
    if compiled.messages.lines().any(|line| line.starts_with("warning")) {
        bail!("warnings:\n{}", compiled.messages);
    }
    println!("    {}", compiled.object.display());
    Ok(())
}
