//! Becomes a program in a cgroup and a network namespace of the cluster.
//!
//! A process of its own does this, because only the program itself may be in them: no code runs between fork and exec.

use std::{fs::File, os::unix::process::CommandExt, path::PathBuf, process::Command, process::ExitCode};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::{cgroups, layout::Layout, wait};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The cluster
    #[arg(long)]
    cluster: String,
    /// The cgroup below the cluster's
    #[arg(long)]
    part: String,
    /// The network namespace
    #[arg(long)]
    netns: PathBuf,
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let layout = Layout::new(&args.cluster)?;
    wait::accept_signals()?;
    cgroups::enter(&layout, &args.part)?;
    let netns = File::open(&args.netns).with_context(|| args.netns.display().to_string())?;
    setns(netns, CloneFlags::CLONE_NEWNET).context("setns")?;
    let (program, arguments) = args.command.split_first().context("no program")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| program.clone())
}

/// The command that starts `program` that way, detached from this terminal, with its output in `log`.
pub(crate) fn command(layout: &Layout, part: &str, netns: PathBuf, log: PathBuf) -> Result<Command> {
    cgroups::create(layout, part)?;
    let own = std::env::current_exe().context("this program's own file")?;
    let output =
        File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
    let mut command = Command::new("setsid");
    command
        .arg(own)
        .args(["launch", "--cluster", &layout.name, "--part", part, "--netns"])
        .arg(netns)
        .arg("--");
    command.stdin(std::process::Stdio::null()).stdout(output.try_clone()?).stderr(output).current_dir("/");
    Ok(command)
}
