//! How is a kernel booted, and what if it never ends?

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// A machine that has said nothing for so long hangs: one scenario with all its patience takes less.
const SILENCE: Duration = Duration::from_secs(600);
/// All of a machine's life: every scenario of the suite, if somebody asks for them all.
const LIFE: Duration = Duration::from_secs(2 * 3600);

/// What a machine has left behind.
pub(super) struct Ended {
    /// What the steps said.
    pub(super) report: String,
    /// What the kernel said.
    pub(super) console: String,
    /// Why it was switched off.
    pub(super) stopped: Option<String>,
    pub(super) time: Duration,
}

/// Runs until the machine switches itself off, or has to be.
pub(super) fn boot(kernel: &Path, initrd: &Path, folder: &Path) -> Result<Ended> {
    let (report, console) = (folder.join("report.log"), folder.join("console.log"));
    for log in [&report, &console] {
        fs::write(log, "").with_context(|| log.display().to_string())?;
    }
    let mut command = Command::new("qemu-system-x86_64");
    // Emulated: KVM is not to be had within virtual machines, and the result is the same everywhere.
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command.arg("-serial").arg(format!("file:{}", report.display()));
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    // A panic reboots, which ends the emulator. Warnings of the kernel's are shown, but not those that it stood
    // still: whoever emulates it may have had no time.
    command.args([
        "-append",
        "console=ttyS0 loglevel=5 panic=-1 oops=panic nosoftlockup rcupdate.rcu_cpu_stall_suppress=1",
    ]);
    let child = command.stdin(Stdio::null()).spawn().context("cannot start qemu-system-x86_64")?;
    let begun = Instant::now();
    let stopped = wait(Machine(child), &report)?;
    let read = |log: &Path| fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).replace('\r', ""));
    Ok(Ended { report: read(&report)?, console: read(&console)?, stopped, time: begun.elapsed() })
}

/// Ends with its owner.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(mut machine: Machine, report: &Path) -> Result<Option<String>> {
    let begun = Instant::now();
    let (mut size, mut heard) = (0, begun);
    loop {
        if let Some(status) = machine.0.try_wait()? {
            return Ok((!status.success()).then(|| format!("the emulator ended with {status}")));
        }
        let now = fs::metadata(report).map_or(0, |data| data.len());
        if now != size {
            (size, heard) = (now, Instant::now());
        }
        if heard.elapsed() > SILENCE {
            return Ok(Some(format!("it said nothing for {} s and was switched off", SILENCE.as_secs())));
        }
        if begun.elapsed() > LIFE {
            return Ok(Some(format!("it did not end within {} s and was switched off", LIFE.as_secs())));
        }
        thread::sleep(Duration::from_millis(100));
    }
}
