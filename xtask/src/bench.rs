//! `cargo xtask bench`: measures weft next to direct connections and pairs of haproxy and nginx.

mod control;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{Command, build, debian, doctor, host, steps::Steps};

pub(crate) const COMMAND: Command = Command {
    name: "bench",
    arguments: "[--quick] [--routed] [--h2load] [--repetitions N] [--cases A,B] [--variants A,B] [FILTER] | control [--pods N,N]",
    what: "Measures latency, throughput, CPU and memory: direct, through weft, and through pairs of haproxy and nginx.",
    why: "The figures of docs/performance.md, on your machine. FILTER is a part of CASE/VARIANT, for example \
          echo-2000/weft. --routed gives each pod its own routed link in place of a bridge. --h2load checks the \
          maxima of HTTP with nghttp2's load generator. `bench control` measures the control plane instead: 1 000 and \
          10 000 pods in a real API server.",
    example: "cargo xtask bench --quick\n\
              cargo xtask bench --quick --cases h1-2000,h2-2000,grpc-2000\n\
              cargo xtask bench --cases h1-max-128,grpc-max-8x16 --variants weft,haproxy,nginx --h2load\n\
              cargo xtask bench --repetitions 3 h1-\n\
              cargo xtask bench control",
    run,
};

/// For figures and plot.
const FOLDER: &str = "bench";

struct Options {
    /// False is for work on the benchmark itself, and not in the list of arguments.
    is_release: bool,
    /// For the program that measures.
    passed: Vec<String>,
}

impl Options {
    fn needs_h2load(&self) -> bool {
        self.passed.iter().any(|argument| argument == H2LOAD)
    }
}

const H2LOAD: &str = "--h2load";

fn parse(arguments: Vec<String>) -> Result<Options> {
    let mut options = Options { is_release: true, passed: Vec::new() };
    let mut has_filter = false;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--profile" => match arguments.next().as_deref() {
                Some("dev") => options.is_release = false,
                Some("release") => options.is_release = true,
                _ => bail!("--profile is dev or release"),
            },
            "--quick" | "--routed" | H2LOAD => options.passed.push(argument),
            "--repetitions" => {
                let number = arguments.next().context("--repetitions needs a number")?;
                let number = number.parse::<usize>().ok().filter(|number| *number > 0);
                let number = number.context("--repetitions needs a number above 0")?;
                options.passed.extend([argument, number.to_string()]);
            }
            "--cases" | "--variants" => {
                let names = arguments.next().with_context(|| format!("{argument} needs names"))?;
                options.passed.extend([argument, names]);
            }
            other if other.starts_with('-') => {
                bail!(
                    "bench knows --quick, --routed, --h2load, --repetitions, --cases and --variants, not {other:?}"
                )
            }
            _ if has_filter => bail!("bench takes one FILTER, and {argument:?} is a second one"),
            _ => {
                has_filter = true;
                options.passed.push(argument);
            }
        }
    }
    Ok(options)
}

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    if arguments.first().is_some_and(|first| first == "control") {
        return control::run(arguments.into_iter().skip(1).collect());
    }
    let options = parse(arguments)?;
    let mut steps = Steps::default();
    steps.step("this machine", "kernel and rights, which cannot be installed", doctor::musts)?;
    steps.step("Debian packages", "tools for the pods' networks, haproxy and nginx", || {
        debian::ensure(&debian::RUN)?;
        debian::ensure(&debian::BENCH)?;
        if options.needs_h2load() { debian::ensure(&debian::H2LOAD) } else { Ok(()) }
    })?;
    build::prepare(&mut steps)?;
    build::programs(&mut steps, &build::WITH_TESTS, options.is_release)?;
    let out = host::target_dir().join(FOLDER);
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    println!("==> bench: the variants take turns; keep the machine quiet");
    let program = build::folder(options.is_release).join("weft-bench");
    let mut bench = host::privileged(program, "creating network namespaces")?;
    bench.args(options.passed).arg("--out").arg(&out).env_remove("LD_LIBRARY_PATH").current_dir(host::root());
    host::stream(&mut bench)?;
    give_back(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Files that root wrote below target/ would make the user's next `cargo clean` fail.
fn give_back(folder: &std::path::Path) -> Result<()> {
    if host::is_root() {
        return Ok(());
    }
    let mut chown = host::privileged_quietly("chown", "giving the results to you")?;
    host::stream(chown.arg("--recursive").arg("--reference").arg(host::target_dir()).arg(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<Options> {
        parse(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn options_are_read() {
        let options = words(&["--quick", "bulk", "--repetitions", "3"]).expect("options");
        assert!(options.is_release);
        assert_eq!(options.passed, ["--quick", "bulk", "--repetitions", "3"]);
        assert!(!options.needs_h2load());
        assert!(words(&["--h2load", "h1-max"]).expect("options").needs_h2load());
        assert!(!words(&["--profile", "dev"]).expect("options").is_release);
    }

    #[test]
    fn nonsense_is_refused() {
        for nonsense in [&["a", "b"][..], &["--fast"], &["--repetitions", "0"], &["--profile", "x"]] {
            assert!(words(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
