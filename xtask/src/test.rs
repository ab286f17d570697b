//! `cargo xtask test`: unit tests, then scenarios on the real kernel, then a real Kubernetes, then other kernels.

mod dashboard;
mod failures;
mod kubernetes;
mod linter;
mod soak;
mod tally;

use std::{
    env,
    path::PathBuf,
    process::{self, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::{failures::Failures, tally::Tally};
use crate::{
    Command, build, debian, doctor, host,
    kernels::{self, Extent},
    steps::Steps,
};

pub(crate) const COMMAND: Command = Command {
    name: "test",
    arguments: "[FILTER] [--list] [--unit | --scenarios | --kernels] | --soak MINUTES [--seed SEED]",
    what: "Runs unit tests, then scenarios on the real kernel, then tests on a real Kubernetes; with FILTER, those whose \
           name contains it. The FILTER viz selects all tests of the dashboard.",
    why: "CI runs the same. Scenarios start real clusters, servers and clients as root; logs: target/scenarios. \
          Kubernetes' programs are built once per machine (docs: CONTRIBUTING.md). At the end, emulated machines with other kernels load the eBPF programs. With --kernels only they run: \
          smoke tests, or the scenarios of FILTER; logs: target/kernels. With --soak, traffic of every kind while \
          pods, proxies, policies and authorities change at random.",
    example: "cargo xtask test half_close",
    run,
};

#[derive(Default)]
struct Options {
    filter: Option<String>,
    list: bool,
    unit: bool,
    scenarios: bool,
    kernels: bool,
}

fn parse(arguments: Vec<String>) -> Result<Options> {
    let mut options = Options { unit: true, scenarios: true, ..Options::default() };
    for argument in arguments {
        match argument.as_str() {
            "--list" => options.list = true,
            "--kernels" => options.kernels = true,
            "--unit" => options.scenarios = false,
            "--scenarios" => options.unit = false,
            other if other.starts_with('-') => {
                bail!("test knows --list, --unit, --scenarios, --kernels and --soak, not {other:?}")
            }
            _ if options.filter.is_some() => bail!("test takes one FILTER, and {argument:?} is a second one"),
            _ => options.filter = Some(argument),
        }
    }
    if !options.unit && !options.scenarios {
        bail!("--unit and --scenarios exclude each other; without them both are run");
    }
    if options.kernels && (options.list || !options.unit || !options.scenarios) {
        bail!("--kernels takes a FILTER and no other option");
    }
    Ok(options)
}

/// A compiled set of tests.
struct Suite {
    name: String,
    /// The package's folder: the tests run in it.
    folder: PathBuf,
    program: PathBuf,
}

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    if let Some(soak) = soak::parse(&arguments)? {
        return soak.run();
    }
    let options = parse(arguments)?;
    let mut steps = Steps::default();
    let mut tally = Tally::default();
    let result = go(&options, &mut steps, &mut tally);
    if !options.list {
        steps.print_times();
        for (suite, failures) in &tally.broken {
            println!("  failed: {suite}");
            failures.lines().iter().for_each(|line| println!("    {line}"));
        }
    }
    result?;
    if !options.list {
        if tally.skipped > 0 {
            println!("  skipped: {} tests; each has said why", tally.skipped);
        }
        // Alone on the last line: people and CI read it.
        println!("\n{} passed, {} failed", tally.passed, tally.failed);
    }
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn go(options: &Options, steps: &mut Steps, tally: &mut Tally) -> Result<()> {
    if options.kernels {
        steps.step("kernels", "an emulator and the kernels to try", kernels::prepare)?;
        build::prepare(steps)?;
        let suites = steps.step("build", "programs and scenarios", || build_all(&["--test", "scenarios"]))?;
        let extent = options.filter.as_deref().map_or(Extent::Smoke, Extent::Filter);
        return on_kernels(extent, steps, tally, &suites);
    }
    if options.scenarios && !options.list {
        steps.step("this machine", "kernel and rights, which cannot be installed", doctor::musts)?;
        steps.step("Debian packages", "servers and clients for the scenarios", || {
            debian::ensure(&debian::RUN)?;
            debian::ensure(&debian::TEST)
        })?;
        linter::install(options, steps)?;
    }
    build::prepare(steps)?;
    let suites =
        steps.step("build", "programs and tests, the dev profile; dependencies optimized", || {
            build_all(&["--tests"])
        })?;
    let (scenarios, others): (Vec<_>, Vec<_>) =
        suites.into_iter().partition(|suite| suite.name == "scenarios");
    let (kubernetes, unit): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|suite| ["api_server", "kubernetes"].contains(&suite.name.as_str()));

    if options.unit {
        steps.step("unit tests", "they need neither the kernel nor root", || {
            let start = |suite: &Suite| {
                let program = process::Command::new(&suite.program);
                (suite.name.clone(), command(suite, program, options))
            };
            let (waiting, busy): (Vec<_>, Vec<_>) = unit.iter().partition(|suite| suite.name == WAITING);
            let mut busy: Vec<_> = busy.into_iter().map(start).collect();
            if dashboard::is_selected(options) {
                busy.extend(dashboard::unit()?);
            }
            tally.run_beside(busy, waiting.into_iter().map(start).collect())
        })?;
        if options.filter.is_none() && !options.list {
            steps.step("examples", "code in documentation", || {
                let mut cargo = host::cargo();
                cargo.args(["test", "--workspace", "--doc"]);
                tally.run("examples", cargo)
            })?;
        }
    }
    let is_whole = options.filter.is_none() && !options.list && options.unit && options.scenarios;
    if options.scenarios {
        let mut beside = kubernetes::commands(&kubernetes, options, steps)?;
        if dashboard::is_selected(options) {
            beside.push(dashboard::journeys()?);
        }
        let what = "real sockets, programs and kernel, as root; Kubernetes";
        steps.step("scenarios", what, || {
            let suite = scenarios_of(&scenarios)?;
            let mut start = scenario_command(suite, options)?;
            if is_whole {
                // Both halves take about as long, and each mostly waits. The second is shown when the first has ended.
                start.args(["--skip", HTTP]);
                let suites = vec![(suite.name.clone(), start), part_of(suite, HOSTILE_HTTP, None, options)?];
                beside.push(part_of(suite, HTTP, Some(HOSTILE_HTTP), options)?);
                tally.run_beside(suites, beside)?;
            } else {
                tally.run(&suite.name, start)?;
                beside.into_iter().try_for_each(|(name, start)| tally.run(&name, start))?;
            }
            give_back_logs()
        })?;
    }
    if is_whole {
        let ready = steps.step("kernels", "an emulator and the kernels to try", kernels::prepare);
        match ready {
            Ok(()) => on_kernels(Extent::Loads, steps, tally, &scenarios)?,
            // Without Debian or a network this is no fault of weft's, but it must be seen.
            Err(error) => println!("    NOT TRIED on other kernels: {error:#}"),
        }
    }
    Ok(())
}

/// Each kernel counts as one test.
fn on_kernels(extent: Extent<'_>, steps: &mut Steps, tally: &mut Tally, suites: &[Suite]) -> Result<()> {
    let scenarios = scenarios_of(suites)?;
    let folder = build::folder(false);
    let programs = kernels::Programs { folder: &folder, scenarios: &scenarios.program };
    steps.step("emulated machines", "weft on other kernels", || {
        let count = kernels::run(&programs, extent)?;
        tally.passed += count.passed;
        tally.failed += count.failed;
        if count.failed > 0 {
            tally.broken.push(("kernels".to_owned(), Failures::default()));
        }
        Ok(())
    })
}

fn scenarios_of(suites: &[Suite]) -> Result<&Suite> {
    let scenarios = suites.iter().find(|suite| suite.name == "scenarios");
    scenarios.context("the package weft-tests has no target scenarios")
}

/// These unit tests mostly wait until a Prometheus has scraped.
const WAITING: &str = "prometheus";

/// In the names of the scenarios that follow those on Kubernetes.
const HTTP: &str = "http";
/// In the names of those among them that follow the scenarios without HTTP instead.
const HOSTILE_HTTP: &str = "http_hostile";

/// The scenarios with `filter` in their name, and without `skipped`.
fn part_of(suite: &Suite, filter: &str, skipped: Option<&str>, options: &Options) -> Result<tally::Start> {
    let mut start = scenario_command(suite, options)?;
    start.arg(filter).args(skipped.iter().flat_map(|skipped| ["--skip", skipped]));
    Ok((format!("{} of {filter}", suite.name), start))
}

fn scenario_command(suite: &Suite, options: &Options) -> Result<process::Command> {
    let start = if options.list {
        process::Command::new(&suite.program)
    } else {
        host::privileged(&suite.program, "the scenarios")?
    };
    Ok(command(suite, start, options))
}

/// Files that root wrote below target/ would make the user's next `cargo clean` fail.
fn give_back_logs() -> Result<()> {
    let logs = host::target_dir().join("scenarios");
    if host::is_root() || !logs.is_dir() {
        return Ok(());
    }
    let mut chown = host::privileged_quietly("chown", "giving the logs to you")?;
    host::stream(chown.arg("--recursive").arg("--reference").arg(host::target_dir()).arg(logs))
}

fn command(suite: &Suite, mut start: process::Command, options: &Options) -> process::Command {
    let filter = options.filter.iter().filter(|_| !dashboard::selects(&suite.folder, options));
    start.args(filter).args(colour()).current_dir(&suite.folder).env_remove("LD_LIBRARY_PATH");
    if options.list {
        start.arg("--list");
    }
    start
}

/// Builds programs and tests together, with the same features: no dependency is compiled twice.
fn build_all(tests: &[&str]) -> Result<Vec<Suite>> {
    let mut cargo = host::cargo();
    cargo.args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics"]).args(tests);
    let output = cargo.stderr(Stdio::inherit()).output().context("cargo build")?;
    if !output.status.success() {
        bail!("cargo build failed ({})", output.status);
    }
    let mut suites: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().filter_map(suite).collect();
    suites.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(suites)
}

/// The suite that a line of cargo's messages names.
fn suite(line: &str) -> Option<Suite> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["profile"]["test"].as_bool()? || message["target"]["kind"][0].as_str()? == "test";
    let program = PathBuf::from(message["executable"].as_str().filter(|_| is_test)?);
    let folder = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    let target = &message["target"];
    let name = target["name"].as_str()?;
    let name = if target["kind"][0] == "bin" { format!("{name} (program)") } else { name.to_owned() };
    Some(Suite { name, folder, program })
}

/// Keeps colours although the output goes through a pipe.
fn colour() -> Option<&'static str> {
    use std::io::IsTerminal;
    let wanted = std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
    wanted.then_some("--color=always")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<Options> {
        parse(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn options_are_read() {
        let options = words(&["tls", "--scenarios"]).expect("options");
        assert_eq!(options.filter.as_deref(), Some("tls"));
        assert!(options.scenarios && !options.unit && !options.list);
        assert!(words(&["a", "b"]).is_err());
        assert!(words(&["--unit", "--scenarios"]).is_err());
        assert!(words(&["--fast"]).is_err());
        assert!(words(&["wire", "--kernels"]).expect("options").kernels);
        assert!(words(&["--kernels", "--list"]).is_err());
    }

    #[test]
    fn suites_are_found_in_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","profile":{"test":true},
            "target":{"kind":["test"],"name":"scenarios"},"executable":"/w/target/debug/deps/scenarios-1"}"#;
        let found = suite(line).expect("a suite");
        assert_eq!((found.name.as_str(), found.folder), ("scenarios", PathBuf::from("/w/tests")));
        assert!(suite(&line.replace("true", "false").replace("[\"test\"]", "[\"bin\"]")).is_none());
        assert!(suite(r#"{"reason":"build-finished","success":true}"#).is_none());
        assert!(suite("warning: not json").is_none());
    }
}
