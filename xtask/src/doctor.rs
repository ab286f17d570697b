//! Can this machine carry weft, and how is what it lacks mended?

mod kernel;
mod rights;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::Command;

pub(crate) const COMMAND: Command = Command {
    name: "doctor",
    arguments: "",
    what: "Looks at the kernel, the rights, the limits and the tools of this machine.",
    why: "Says what weft needs of each, what is wrong with it and how to mend it; exit code 1 if something is missing.",
    example: "cargo xtask doctor",
    run,
};

/// What came out of looking at one thing.
enum Verdict {
    /// As it should be.
    Good,
    /// Works, with a limit; the text says how to lift it.
    Limited(String),
    /// Does not work; the text says how to mend it.
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

    fn limited(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what, found: found.into(), verdict: Verdict::Limited(mend.into()) }
    }

    fn missing(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what, found: found.into(), verdict: Verdict::Missing(mend.into()) }
    }

    fn print(&self) {
        let (sign, mend) = match &self.verdict {
            Verdict::Good => ('✓', None),
            Verdict::Limited(mend) => ('‼', Some(mend)),
            Verdict::Missing(mend) => ('✗', Some(mend)),
        };
        println!("{sign} {:<20} {}", self.what, self.found);
        if let Some(mend) = mend {
            println!("  {:<20} -> {mend}", "");
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
        println!("{missing} missing: see the lines with ✗");
        return Ok(ExitCode::FAILURE);
    }
    println!("This machine can run weft.");
    Ok(ExitCode::SUCCESS)
}

/// What cannot be installed: `run` and `test` stop here with the reason, rather than in the middle.
pub(crate) fn musts() -> Result<()> {
    let findings = kernel::look().into_iter().chain(rights::look());
    let missing: Vec<Finding> = findings.filter(Finding::is_missing).collect();
    if missing.is_empty() {
        println!("    as needed");
        return Ok(());
    }
    missing.iter().for_each(Finding::print);
    bail!("this machine cannot run weft (the whole picture: cargo xtask doctor)");
}
