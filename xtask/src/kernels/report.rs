//! Reads the results of an emulated machine.

use super::{
    guest::Ended,
    plan::{Expected, Step},
};

/// The results of one kernel.
pub(super) struct Outcome {
    release: String,
    steps: Vec<(&'static str, Result<Done, String>)>,
    /// Failures of the machine as a whole.
    machine: Vec<String>,
    seconds: u64,
}

/// A step that went as expected.
#[derive(PartialEq, Eq, Debug)]
struct Done {
    seconds: u64,
    /// The line that was expected.
    said: Option<String>,
}

/// Lines of a log that a failure shows.
const TAIL: usize = 40;
/// Words in the kernel's log that mean a fault of the kernel.
const ALARMS: [&str; 7] = [
    "Kernel panic",
    "kernel BUG at",
    "BUG: ",
    "Oops: ",
    "WARNING: ",
    "general protection fault",
    "refcount_t: ",
];

/// Reads a machine's serial lines. A step without a result counts as failed.
pub(super) fn read(release: &str, steps: &[Step], ended: &Ended) -> Outcome {
    let mut machine: Vec<String> = ended.stopped.iter().cloned().collect();
    if !ended.report.lines().any(|line| line == "::done") {
        machine.push(format!("the machine did not finish; its last lines:\n{}", tail(&ended.console)));
    }
    let booted = ended.report.lines().find_map(|line| line.strip_prefix("::kernel "));
    if booted.is_some_and(|booted| booted != release) {
        machine.push(format!("kernel {} was booted", booted.unwrap_or_default()));
    }
    let alarms = ended.console.lines().filter(|line| ALARMS.iter().any(|alarm| line.contains(alarm)));
    machine.extend(alarms.map(|line| format!("kernel log: {}", line.trim())));
    let steps = steps.iter().map(|step| (step.name, judge(step, &ended.report))).collect();
    Outcome { release: release.to_owned(), steps, machine, seconds: ended.time.as_secs() }
}

/// The result of a step, or why it failed.
fn judge(step: &Step, report: &str) -> Result<Done, String> {
    let (begin, end) = (format!("::begin {}\n", step.name), format!("\n::end {} ", step.name));
    let Some((_, rest)) = report.split_once(&begin) else { return Err("it was not started".to_owned()) };
    let Some((output, rest)) = rest.split_once(&end) else {
        return Err(format!("it did not end:\n{}", tail(rest)));
    };
    let mut numbers = rest.lines().next().unwrap_or_default().split(' ').map(str::parse::<u64>);
    let (Some(Ok(code)), Some(Ok(seconds))) = (numbers.next(), numbers.next()) else {
        return Err(format!("its result cannot be read:\n{}", tail(rest)));
    };
    let words = match step.expected {
        Expected::Refusal(_) if code == 0 => return Err("it was not refused".to_owned()),
        Expected::Success | Expected::Scenarios(_) if code != 0 => {
            return Err(format!("exit code {code}:\n{}", tail(output)));
        }
        // A scenario that no longer exists is not a success.
        Expected::Scenarios(_) if output.contains(" 0 passed") || !output.contains(" passed") => {
            return Err(format!("no scenario ran:\n{}", tail(output)));
        }
        Expected::Success | Expected::Scenarios("") => return Ok(Done { seconds, said: None }),
        Expected::Scenarios(words) | Expected::Refusal(words) => words,
    };
    match output.lines().find(|line| line.contains(words)) {
        Some(line) => Ok(Done { seconds, said: Some(line.trim().to_owned()) }),
        None => Err(format!("no line contains {words:?}:\n{}", tail(output))),
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(TAIL)..];
    last.iter().map(|line| format!("      | {line}\n")).collect()
}

impl Outcome {
    /// Whether all was as expected.
    pub(super) fn is_good(&self) -> bool {
        self.machine.is_empty() && self.steps.iter().all(|(_, result)| result.is_ok())
    }

    pub(super) fn verdict(&self) -> &'static str {
        if self.is_good() { "as expected" } else { "FAILED" }
    }

    /// A text for each failure.
    pub(super) fn failures(&self) -> impl Iterator<Item = String> {
        let steps = self.steps.iter().filter_map(|(name, result)| Some((name, result.as_ref().err()?)));
        let steps = steps.map(|(name, reason)| format!("{}: {name} FAILED: {reason}", self.release));
        steps.chain(self.machine.iter().map(|reason| format!("{}: FAILED: {reason}", self.release)))
    }
}

/// A line for each kernel.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from("\n    kernel                          result\n");
    for outcome in outcomes {
        let steps: Vec<_> = outcome
            .steps
            .iter()
            .map(|(name, result)| match result {
                Ok(done) => format!("{name} ok {}s", done.seconds),
                Err(_) => format!("{name} FAILED"),
            })
            .collect();
        let machine = if outcome.machine.is_empty() { "" } else { " | machine FAILED" };
        text += &format!(
            "    {:<31} {}{machine} | {}s in all\n",
            outcome.release,
            steps.join(" | "),
            outcome.seconds
        );
        let said = outcome.steps.iter().filter_map(|(_, result)| result.as_ref().ok()?.said.as_ref());
        said.for_each(|line| text += &format!("      {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn step(expected: Expected) -> Step {
        Step { name: "loads", command: String::new(), expected }
    }

    fn ended(report: &str, console: &str) -> Ended {
        Ended {
            report: report.to_owned(),
            console: console.to_owned(),
            stopped: None,
            time: Duration::from_secs(9),
        }
    }

    const GOOD: &str = "::kernel 6.1\n::begin loads\nall is well\n\n::end loads 0 3\n::done\n";

    #[test]
    fn a_good_run_is_good() {
        let outcome = read("6.1", &[step(Expected::Success)], &ended(GOOD, "booting\n"));
        assert!(outcome.is_good());
        assert!(table(&[outcome]).contains("loads ok 3s | 9s in all"));
    }

    #[test]
    fn silence_codes_other_kernels_and_alarms_are_failures() {
        let steps = [step(Expected::Success)];
        let bad = |report: &str, console: &str| !read("6.1", &steps, &ended(report, console)).is_good();
        assert!(bad("", "Kernel panic - not syncing\n"));
        assert!(bad(&GOOD.replace("::done\n", ""), ""));
        assert!(bad(&GOOD.replace("loads 0 3", "loads 101 3"), ""));
        assert!(bad(&GOOD.replace("::end", "end"), ""));
        assert!(bad(&GOOD.replace("::kernel 6.1", "::kernel 6.2"), ""));
        assert!(bad(GOOD, "[ 3.1] WARNING: CPU: 0 PID: 7 at net/core/sock.c:1\n"));
        let (name, reason) = &read("6.1", &steps, &ended("", "")).steps[0];
        assert_eq!((*name, reason), ("loads", &Err("it was not started".to_owned())));
    }

    #[test]
    fn a_refusal_must_name_the_minimum() {
        let steps = [step(Expected::Refusal("needs Linux 6.1"))];
        let good = |report: &str| read("6.1", &steps, &ended(report, "")).is_good();
        let refused =
            GOOD.replace("loads 0", "loads 1").replace("well", "too old; weft needs Linux 6.1 or newer");
        assert!(good(&refused));
        assert!(!good(&refused.replace("6.1 or", "6.0 or")));
        assert!(!good(&refused.replace("loads 1", "loads 0")));
    }

    #[test]
    fn a_scenario_must_have_run_and_said_what_is_expected() {
        let report = GOOD.replace("all is well", "splicing: works\ntest result: ok. 1 passed; 0 failed");
        let outcome =
            |says, report: &str| read("6.1", &[step(Expected::Scenarios(says))], &ended(report, ""));
        assert!(outcome("", &report).is_good());
        assert!(table(&[outcome("splicing: ", &report)]).contains("\n      splicing: works\n"));
        assert!(!outcome("splicing: relayed", &report).is_good());
        assert!(!outcome("", &report.replace(" 1 passed", " 0 passed")).is_good());
        assert!(!outcome("", GOOD).is_good());
    }
}
