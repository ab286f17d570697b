//! `cargo xtask lint`: format, clippy, licences, import circles, the length of files, and the documents.

mod documents;
mod files;
mod licences;
mod log_fields;

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
    what: "Checks format, length of files, documents, licences, import circles, and the warnings of eBPF programs and \
           clippy.",
    why: "CI checks the same before the tests. A failed check does not stop the others.",
    example: "cargo xtask lint",
    run,
};

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    if let Some(argument) = arguments.first() {
        bail!("lint takes no arguments, and there is {argument:?}");
    }
    let mut steps = Steps::default();
    steps.step("rustfmt and clippy", "components of the toolchain", components)?;
    build::prepare(&mut steps)?;
    let results = [
        steps.step("format", "the rules of rustfmt.toml", format),
        steps.step("files", "at most 400 lines each", files::check),
        steps.step("documents", "links and files that they name exist", documents::check),
        steps.step("log fields", "docs/operations.md has all of them", log_fields::check),
        steps.step(
            "licences",
            "of all dependencies, also banned crates and sources, by cargo-deny",
            licences::check,
        ),
        steps.step("imports", "no file depends on itself through others", imports),
        steps.step("eBPF", "it compiles without a warning", kernel_side),
        steps.step("clippy", "all targets, warnings are errors", clippy),
    ];
    steps.print_times();
    println!();
    let mut failed = 0;
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        println!("failed: {error:#}");
        failed += 1;
    }
    println!("lint: {} passed, {failed} failed", results.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Installs cargo fmt and cargo clippy if they are missing.
fn components() -> Result<()> {
    let there =
        |name: &str| host::cargo().args([name, "--version"]).output().is_ok_and(|o| o.status.success());
    if there("fmt") && there("clippy") {
        println!("    installed");
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

/// A program of its own, which alone needs a parser of Rust.
fn imports() -> Result<()> {
    let mut cargo = host::cargo();
    cargo.args(["run", "--quiet", "--package", "xtask-imports", "--", "Cargo.toml", "proxy-ebpf/Cargo.toml"]);
    if !host::status(&mut cargo)?.success() {
        bail!("files depend on each other (docs/decisions/0016-import-circles.md)");
    }
    Ok(())
}

fn clippy() -> Result<()> {
    host::stream(host::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Compiles in the folder that the proxy's build script uses too: cargo repeats the warnings of an earlier compilation.
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
