//! `cargo xtask test --soak`: hours of traffic while pods, proxies and policies change at random.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::give_back_logs;
use crate::{build, debian, doctor, host, steps::Steps};

pub(super) struct Soak {
    minutes: f64,
    seed: Option<u64>,
}

/// None: the arguments do not ask for a soak.
pub(super) fn parse(arguments: &[String]) -> Result<Option<Soak>> {
    if !arguments.iter().any(|argument| argument == "--soak") {
        return Ok(None);
    }
    let mut soak = Soak { minutes: 0.0, seed: None };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--soak" => {
                let minutes = arguments.next().and_then(|minutes| minutes.parse().ok());
                soak.minutes =
                    minutes.filter(|minutes| *minutes > 0.0).context("--soak needs MINUTES above 0")?;
            }
            "--seed" => {
                let seed = arguments.next().and_then(|seed| seed.parse().ok());
                soak.seed = Some(seed.context("--seed needs a number")?);
            }
            other => bail!("a soak knows --seed, not {other:?}"),
        }
    }
    Ok(Some(soak))
}

impl Soak {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut steps = Steps::default();
        steps.step("this machine", "kernel and rights, which cannot be installed", doctor::musts)?;
        steps.step("Debian packages", "tools that set up the pods' networks", || {
            debian::ensure(&debian::RUN)
        })?;
        build::prepare(&mut steps)?;
        build::programs(&mut steps, &build::WITH_TESTS, false)?;
        println!("==> soak: {} minutes of traffic while pods, proxies and policies change", self.minutes);
        let mut soak =
            host::privileged(build::folder(false).join("weft-soak"), "creating network namespaces")?;
        soak.arg(self.minutes.to_string()).env_remove("LD_LIBRARY_PATH").current_dir(host::root());
        if let Some(seed) = self.seed {
            soak.args(["--seed", &seed.to_string()]);
        }
        let status = soak.status().with_context(|| format!("cannot start {}", host::shown(&soak)))?;
        give_back_logs()?;
        Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<Option<Soak>> {
        parse(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn a_soak_is_asked_for_by_its_minutes() {
        let soak = words(&["--seed", "7", "--soak", "0.5"]).expect("options").expect("a soak");
        assert_eq!((soak.minutes, soak.seed), (0.5, Some(7)));
        assert!(words(&["tls"]).expect("options").is_none());
        for wrong in [&["--soak"][..], &["--soak", "0"], &["--soak", "1", "tls"], &["--soak", "1", "--seed"]]
        {
            assert!(words(wrong).is_err(), "{wrong:?}");
        }
    }
}
