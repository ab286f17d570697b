//! Runs the benchmark; `cargo xtask bench` starts it, as root.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use weft_tests::bench::{
    case::CASES,
    json, plot,
    run::{Plan, Selection, run},
    table, targets,
    variant::VARIANTS,
};
use weft_vm::link::Links;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let (plan, out) = arguments()?;
    // Both ends of thousands of connections are descriptors of this process.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let start = Instant::now();
    let rows = run(&plan, |what| eprintln!("    {:>4.0} s  {what}", start.elapsed().as_secs_f64()))?;
    print!("\n{}{}", table::text(&rows), targets::text(&rows));
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    write(&out.join("latest.json"), &format!("{:#}\n", json::array(&rows)))?;
    write(&out.join("latest.svg"), &plot::svg(&rows))?;
    println!("\nMedians of {} repetitions; {}/latest.{{json,svg}}", plan.repetitions, out.display());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::File::create(path).with_context(|| path.display().to_string())?;
    Ok(file.write_all(text.as_bytes())?)
}

fn arguments() -> Result<(Plan, PathBuf)> {
    let own = env::current_exe()?;
    let binaries = own.parent().context("the path of this program")?.to_owned();
    let selection = Selection::default();
    let mut plan = Plan {
        repetitions: 0,
        is_quick: false,
        is_checked: false,
        links: Links::Bridge,
        selection,
        binaries,
    };
    let mut out = PathBuf::from("target/bench");
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => plan.is_quick = true,
            "--h2load" => plan.is_checked = true,
            "--binaries" => plan.binaries = arguments.next().context("--binaries needs a folder")?.into(),
            "--routed" => plan.links = Links::Own,
            "--repetitions" => {
                let number = arguments.next().context("--repetitions needs a number")?;
                plan.repetitions = number.parse().context("--repetitions")?;
            }
            "--cases" => {
                plan.selection.cases =
                    names(&arguments.next().context("--cases needs names")?, &CASES.map(|case| case.name))?;
            }
            "--variants" => {
                plan.selection.variants = names(
                    &arguments.next().context("--variants needs names")?,
                    &VARIANTS.map(|variant| variant.name),
                )?;
            }
            "--out" => out = arguments.next().context("--out needs a folder")?.into(),
            other if other.starts_with('-') => bail!("no such option: {other}"),
            _ => plan.selection.filter = argument,
        }
    }
    if plan.repetitions == 0 {
        plan.repetitions = if plan.is_quick { 2 } else { 5 };
    }
    Ok((plan, out))
}

/// Names separated by commas, each of which is `known`.
fn names(list: &str, known: &[&str]) -> Result<Vec<String>> {
    let check = |name: &str| -> Result<String> {
        ensure!(known.contains(&name), "there is no {name:?}, only {}", known.join(", "));
        Ok(name.to_owned())
    };
    list.split(',').map(check).collect()
}
