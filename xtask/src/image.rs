//! `cargo xtask image`: container images of weft's programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    Command, build,
    buildah::{self, Image},
    debian, host, steps,
    steps::Steps,
};

pub(crate) const COMMAND: Command = Command {
    name: "image",
    arguments: "[--debug] [--output DIR]",
    what: "Builds the images of weft-proxy, weft-control, weft-viz and weft-demo, as OCI archives in target/images or DIR.",
    why: "cargo xtask cluster load-images, kind load image-archive, docker load and skopeo copy take them. --debug builds \
          the dev profile, which compiles faster, for tests.",
    example: "cargo xtask image\ncargo xtask cluster load-images",
    run,
};

const PROGRAMS: [&str; 4] = ["weft-proxy", "weft-control", "weft-demo", "weft-viz"];
/// As the charts' default value imageRegistry.
const REGISTRY: &str = "ghcr.io/weft-mesh";
const LIMIT: Duration = Duration::from_secs(60);

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    let (mut release, mut output) = (true, folder());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--debug" => release = false,
            "--output" => output = std::path::absolute(arguments.next().context("--output needs a folder")?)?,
            other => bail!("image knows --debug and --output, not {other:?}"),
        }
    }
    let mut steps = Steps::default();
    let archives = build(&mut steps, release, &output)?;
    steps.print_times();
    println!("\n  {:<42} {:>9} {:>9}  archive", "image", "content", "archive");
    for archive in archives {
        println!("  {archive}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The archives that were built last.
pub(crate) fn archives() -> Result<Vec<PathBuf>> {
    archives_in(&folder())
}

/// The archives of all images in a folder.
pub(crate) fn archives_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let files: Vec<PathBuf> = PROGRAMS.iter().map(|program| archive(folder, program)).collect();
    let missing = files.iter().find(|file| !file.is_file());
    ensure!(
        missing.is_none(),
        "there are no images in {}: build them with `cargo xtask image`",
        folder.display()
    );
    Ok(files)
}

/// Builds all images; each result is a row of the table.
pub(crate) fn build(steps: &mut Steps, release: bool, output: &Path) -> Result<Vec<String>> {
    steps.step("Debian packages", "what builds images", || debian::ensure(&debian::IMAGES))?;
    build::prepare(steps)?;
    // The same packages as elsewhere: with others, features would differ, and dependencies be compiled again.
    build::programs(steps, &build::PROGRAMS, release)?;
    pack(steps, release, output)
}

/// Makes images of programs that are built.
pub(crate) fn pack(steps: &mut Steps, release: bool, output: &Path) -> Result<Vec<String>> {
    steps.step("images", "the last stages of deploy/images/*.Dockerfile", || {
        fs::create_dir_all(output).with_context(|| output.display().to_string())?;
        let commit = Commit::of_the_checkout();
        PROGRAMS.iter().map(|program| one(program, release, output, &commit)).collect()
    })
}

fn folder() -> PathBuf {
    host::target_dir().join("images")
}

fn archive(folder: &Path, program: &str) -> PathBuf {
    folder.join(format!("{program}.tar"))
}

fn one(program: &str, release: bool, output: &Path, commit: &Commit) -> Result<String> {
    let tag = format!("{REGISTRY}/{program}:{}", env!("CARGO_PKG_VERSION"));
    let context = host::target_dir().join("xtask/images").join(program);
    let _ = fs::remove_dir_all(&context);
    // The Dockerfile's stage `build` has it there.
    let content = context.join("content");
    fs::create_dir_all(&content)?;
    let mut collect = process::Command::new(host::root().join("deploy/images/collect.sh"));
    collect.arg(&content).arg(build::folder(release).join(program));
    steps::quiet(&mut collect, "collect", LIMIT)?;
    let mut strip = process::Command::new("strip");
    strip.arg("--strip-debug").arg(content.join("usr/bin").join(program));
    steps::quiet(&mut strip, "strip", LIMIT)?;

    let dockerfile = host::root().join(format!("deploy/images/{program}.Dockerfile"));
    let archive = archive(output, program);
    buildah::build(&Image {
        tag: &tag,
        dockerfile: &dockerfile,
        context: &context,
        arguments: &[("VERSION", env!("CARGO_PKG_VERSION")), ("REVISION", &commit.hash)],
        stage: Some("build"),
        seconds: commit.seconds,
        archive: &archive,
    })?;
    let row = format!(
        "{tag:<42} {:>6.1} MB {:>6.1} MB  {}",
        megabytes(size(&content)?),
        megabytes(fs::metadata(&archive)?.len()),
        archive.display()
    );
    fs::remove_dir_all(context)?;
    Ok(row)
}

/// What the checkout was made from.
struct Commit {
    hash: String,
    /// Its time, which all files of the images get.
    seconds: u64,
}

impl Commit {
    /// Unknown outside a git repository, for example in an unpacked archive.
    fn of_the_checkout() -> Self {
        let mut git = process::Command::new("git");
        let output = git.args(["log", "-1", "--format=%H %ct"]).current_dir(host::root()).output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let mut words = text.split_whitespace();
        let hash = words.next().unwrap_or("unknown").to_owned();
        Self { hash, seconds: words.next().and_then(|word| word.parse().ok()).unwrap_or(0) }
    }
}

fn size(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        total += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(total)
}

fn megabytes(bytes: u64) -> f64 {
    // Exact up to 2^53 bytes.
    bytes as f64 / 1e6
}
