//! `cargo xtask doctor`: checks whether this machine can run weft, and says how to fix what is missing.

mod kernel;
mod rights;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::Command;

pub(crate) const COMMAND: Command = Command {
    name: "doctor",
    arguments: "",
    what: "Checks the kernel, rights, limits and tools of this machine.",
    why: "Says what is missing and how to fix it. The exit code is 1 if something is missing.",
    example: "cargo xtask doctor",
    run,
};

enum Verdict {
    Good,
    /// Works, with a limit. The text says how to lift it.
    Limited(String),
    /// Does not work. The text says how to fix it.
    Missing(String),
}

/// One line of the report.
struct Finding {
    what: &'static str,
    found: String,
    verdict: Verdict,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, found: found.into(), verdict: Verdict::Good }
    }

    fn limited(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, found: found.into(), verdict: Verdict::Limited(fix.into()) }
    }

    fn missing(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, found: found.into(), verdict: Verdict::Missing(fix.into()) }
    }

    fn print(&self) {
        let (sign, fix) = match &self.verdict {
            Verdict::Good => ('✓', None),
            Verdict::Limited(fix) => ('‼', Some(fix)),
            Verdict::Missing(fix) => ('✗', Some(fix)),
        };
        println!("{sign} {:<20} {}", self.what, self.found);
        if let Some(fix) = fix {
            println!("  {:<20} -> {fix}", "");
        }
    }

    fn is_missing(&self) -> bool {
        matches!(self.verdict, Verdict::Missing(_))
    }
}

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    if let Some(argument) = arguments.first() {
        bail!("doctor takes no arguments, and there is {argument:?}");
    }
    let mut missing = 0;
    for (title, look) in [
        ("Kernel", kernel::look as fn() -> Vec<Finding>),
        ("Rights and limits", rights::look),
        ("Tools", tools::look),
    ] {
        println!("{title}");
        for finding in look() {
            finding.print();
            missing += usize::from(finding.is_missing());
        }
        println!();
    }
    if missing > 0 {
        println!("{missing} missing: see the lines marked ✗");
        return Ok(ExitCode::FAILURE);
    }
    println!("This machine can run weft.");
    Ok(ExitCode::SUCCESS)
}

/// Checks what cannot be installed, so that `run` and `test` stop at once, with the reason.
pub(crate) fn musts() -> Result<()> {
    let findings = kernel::look().into_iter().chain(rights::look());
    let missing: Vec<Finding> = findings.filter(Finding::is_missing).collect();
    if missing.is_empty() {
        println!("    ready");
        return Ok(());
    }
    missing.iter().for_each(Finding::print);
    bail!("this machine cannot run weft; cargo xtask doctor shows all checks");
}
