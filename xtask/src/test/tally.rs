//! Adds up the results of all test programs.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::failures::Failures;
use crate::host;

/// A suite's name, and what runs it.
pub(super) type Start = (String, Command);

#[derive(Default)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// Tests that this machine cannot run; each has said why.
    pub(super) skipped: u64,
    /// Suites with a failure, and what they said of it.
    pub(super) broken: Vec<(String, Failures)>,
}

impl Tally {
    /// Runs a suite, shows its output as it comes, and counts its results.
    pub(super) fn run(&mut self, name: &str, command: Command) -> Result<()> {
        println!("--- {name}");
        self.follow(name, command, |line| println!("{line}"))
    }

    /// Runs suites as [`Tally::run`] does, and others one after the other at the same time. Their output is shown at the end.
    pub(super) fn run_beside(&mut self, suites: Vec<Start>, others: Vec<Start>) -> Result<()> {
        let beside = std::thread::spawn(move || {
            let (mut tally, mut shown) = (Self::default(), String::new());
            for (name, command) in others {
                shown += &format!("--- {name}\n");
                tally.follow(&name, command, |line| {
                    shown += line;
                    shown.push('\n');
                })?;
            }
            anyhow::Ok((tally, shown))
        });
        suites.into_iter().try_for_each(|(name, command)| self.run(&name, command))?;
        let (other, shown) = match beside.join() {
            Ok(ended) => ended?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        print!("{shown}");
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.broken.extend(other.broken);
        Ok(())
    }

    fn follow(&mut self, name: &str, mut command: Command, mut show: impl FnMut(&str)) -> Result<()> {
        let start = command.stdout(Stdio::piped()).spawn();
        let mut child = start.with_context(|| format!("cannot start {}", host::shown(&command)))?;
        let output = child.stdout.take().context("a pipe was asked for")?;
        let failed_before = self.failed;
        let mut failures = Failures::default();
        // Bytes, not strings: what a test prints may be anything.
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            show(&line);
            failures.read(&line);
            if let Some([passed, failed, skipped]) = result(&line) {
                self.passed += passed;
                self.failed += failed;
                self.skipped += skipped;
            }
        }
        let status = child.wait()?;
        if !status.success() && self.failed == failed_before {
            let ended = format!("{name} ended with {status}");
            show(&ended);
            // It ended before it could report a failed test.
            failures.add(ended);
            self.failed += 1;
        }
        if self.failed > failed_before {
            self.broken.push((name.to_owned(), failures));
        }
        Ok(())
    }
}

/// Passed, failed and skipped of `test result: ok. 5 passed; 0 failed; …`, in whatever colours, or of vitest's
/// `Tests  1 failed | 5 passed (6)`.
fn result(line: &str) -> Option<[u64; 3]> {
    if let Some(counts) = line.trim_start().strip_prefix("Tests  ") {
        let (counts, _) = counts.split_once(" (")?;
        return Some(["passed", "failed", "skipped"].map(|word| count(counts, '|', word).unwrap_or(0)));
    }
    let (_, counts) = line.split_once("test result: ")?;
    let (_, counts) = counts.split_once(". ")?;
    let count = |word| count(counts, ';', word);
    Some([count("passed")?, count("failed")?, count("ignored")?])
}

/// The number before `word` in `5 passed; 0 failed`, where `separator` is the semicolon.
fn count(counts: &str, separator: char, word: &str) -> Option<u64> {
    counts.split(separator).find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read() {
        let line =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(result(line), Some([12, 0, 1]));
        let coloured = "test result: \u{1b}[31mFAILED\u{1b}[m. 3 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(result(coloured), Some([3, 2, 0]));
        assert_eq!(result("test a ... ok"), None);
        assert_eq!(result("      Tests  35 passed (35)"), Some([35, 0, 0]));
        assert_eq!(result("      Tests  1 failed | 3 passed | 2 skipped (6)"), Some([3, 1, 2]));
        assert_eq!(result(" Test Files  9 passed (9)"), None);
    }

    #[test]
    fn suites_that_run_beside_another_count_too() {
        let says = |text: &str| {
            let mut echo = Command::new("echo");
            echo.arg(format!("test result: {text}"));
            echo
        };
        let mut tally = Tally::default();
        let suites = vec![("one".to_owned(), says("ok. 2 passed; 0 failed; 3 ignored"))];
        let others = vec![("other".to_owned(), says("FAILED. 1 passed; 1 failed; 0 ignored"))];
        tally.run_beside(suites, others).expect("started");
        assert_eq!((tally.passed, tally.failed, tally.skipped), (3, 1, 3));
        assert!(matches!(&tally.broken[..], [(name, _)] if name == "other"));
    }

    #[test]
    fn a_suite_that_breaks_down_counts_as_a_failure() {
        let mut tally = Tally::default();
        let mut broken = Command::new("sh");
        broken.args(["-c", "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; exit 3"]);
        tally.run("broken", broken).expect("started");
        assert_eq!((tally.passed, tally.failed, tally.broken.len()), (2, 1, 1));
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo 'test result: FAILED. 0 passed; 4 failed; 0 ignored'; exit 101"]);
        tally.run("failing", failing).expect("started");
        assert_eq!((tally.passed, tally.failed), (2, 5));
    }
}
