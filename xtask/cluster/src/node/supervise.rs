//! Runs a node's programs as its first process: starts them again when they end, and collects orphans.

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{errno::Errno, sys::wait::wait};

/// As systemd's RestartSec of these programs.
const PAUSE: Duration = Duration::from_secs(1);
/// The PATH of the node's programs.
pub(super) const PATH: &str = "/kubernetes/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// containerd's, the first of the programs.
const SOCKET: &str = "/run/containerd/containerd.sock";
const CONTAINERD: Duration = Duration::from_secs(20);
const LOGS: &str = "/var/log/node";

/// A name, for the log, and the command.
type Program<'a> = (&'a str, &'a [&'a str]);

/// Returns only with an error.
pub(super) fn run(programs: &[Program<'_>]) -> Result<ExitCode> {
    let mut running = HashMap::new();
    for program in programs {
        running.insert(start(program)?, program);
        // The others end if it does not answer.
        let deadline = Instant::now() + CONTAINERD;
        while !Path::new(SOCKET).exists() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
    loop {
        match wait() {
            Ok(ended) => {
                let Some(program) = ended.pid().and_then(|pid| running.remove(&pid.as_raw())) else {
                    continue;
                };
                eprintln!("{} ended: {ended:?}; starting it again", program.0);
                thread::sleep(PAUSE);
                running.insert(start(program)?, program);
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait"),
        }
    }
}

/// Its process ID. `wait` above collects it.
fn start((name, command): &Program<'_>) -> Result<i32> {
    let path = Path::new(LOGS).join(format!("{name}.log"));
    let log =
        File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
    let (program, arguments) = command.split_first().context("an empty command")?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    Ok(child.id().cast_signed())
}
