//! Boots a kernel in an emulator, and stops it if it hangs.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// A machine without output for so long hangs: one scenario with all its timeouts takes less.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(600);
/// Enough for every scenario of the suite.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// The output of a machine that has ended.
pub(super) struct Ended {
    /// The output of the steps.
    pub(super) report: String,
    /// The kernel's log.
    pub(super) console: String,
    /// Why it had to be stopped.
    pub(super) stopped: Option<String>,
    pub(super) time: Duration,
}

/// Runs until the machine switches itself off, or has to be stopped.
pub(super) fn boot(kernel: &Path, initrd: &Path, folder: &Path) -> Result<Ended> {
    let (report, console) = (folder.join("report.log"), folder.join("console.log"));
    for log in [&report, &console] {
        fs::write(log, "").with_context(|| log.display().to_string())?;
    }
    let mut command = Command::new("qemu-system-x86_64");
    // Emulated: virtual machines rarely have KVM, and the result is the same everywhere.
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command.arg("-serial").arg(format!("file:{}", report.display()));
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    // A panic reboots, which ends the emulator. The kernel's warnings are shown, except those about stalls: the
    // emulator may have had no CPU time.
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

/// Kills the emulator when it is dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Fails if it has ended by itself.
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
        if heard.elapsed() > OUTPUT_TIMEOUT {
            return Ok(Some(format!("no output for {} s; stopped", OUTPUT_TIMEOUT.as_secs())));
        }
        if begun.elapsed() > TOTAL_TIMEOUT {
            return Ok(Some(format!("not finished after {} s; stopped", TOTAL_TIMEOUT.as_secs())));
        }
        thread::sleep(Duration::from_millis(100));
    }
}
