//! Runs the soak test; `cargo xtask test --soak MINUTES` starts it, as root.

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use weft_tests::soak::{Settings, run};

fn main() -> ExitCode {
    let settings = match arguments() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("weft-soak: {error:#}");
            return ExitCode::from(2);
        }
    };
    println!("--seed {} repeats the events, though not their timing", settings.seed);
    match soak(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-soak --seed {}: {error:#}", settings.seed);
            ExitCode::FAILURE
        }
    }
}

fn soak(settings: Settings) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    run(settings)
}

fn arguments() -> Result<Settings> {
    let mut settings = Settings { length: Duration::ZERO, seed: rand::random() };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => settings.seed = arguments.next().context("--seed needs a number")?.parse()?,
            other if other.starts_with('-') => bail!("no such option: {other}"),
            minutes => {
                let minutes: f64 = minutes.parse().context("MINUTES")?;
                settings.length = Duration::try_from_secs_f64(60.0 * minutes).context("MINUTES")?;
            }
        }
    }
    if settings.length.is_zero() {
        bail!("weft-soak MINUTES [--seed SEED]");
    }
    Ok(settings)
}
