//! Announces the steps of a command and measures them.

use std::{
    fs::{self, File},
    io::{self, IsTerminal, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::host;

/// The steps of a command and their times.
#[derive(Default)]
pub(crate) struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    /// Prints `what: why`, runs the step, and keeps its time, also if it fails.
    pub(crate) fn step<T>(
        &mut self,
        what: &'static str,
        why: &str,
        action: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        println!("==> {what}: {why}");
        let start = Instant::now();
        let result = action();
        self.0.push((what, start.elapsed()));
        result.with_context(|| what.to_owned())
    }

    pub(crate) fn print_times(&self) {
        println!("\nTime per step:");
        for (what, time) in &self.0 {
            println!("  {:>7}  {what}", shown(*time));
        }
        println!("  {:>7}  total", shown(self.0.iter().map(|(_, time)| *time).sum()));
    }
}

/// For example `1.2s`, `2m05s`.
pub(crate) fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1}s", time.as_secs_f64())
    } else {
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    }
}

/// Runs a program whose output matters only if it fails: it goes to target/xtask/`name`.log, and the terminal shows
/// that it is running. Killed after `limit`.
pub(crate) fn quiet(command: &mut Command, name: &str, limit: Duration) -> Result<()> {
    let folder = host::target_dir().join("xtask");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let path = folder.join(format!("{name}.log"));
    let log = File::create(&path).with_context(|| path.display().to_string())?;
    println!("    $ {}", host::shown(command));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", host::shown(command)))?;
    let mut progress = Progress::new();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if progress.start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            progress.end();
            bail!("killed after {}; its output: {}", shown(limit), path.display());
        }
        progress.show();
        thread::sleep(Duration::from_millis(100));
    };
    progress.end();
    if !status.success() {
        bail!(
            "{status}; last lines of {}:\n{}",
            path.display(),
            tail(&fs::read_to_string(&path).unwrap_or_default())
        );
    }
    Ok(())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    last.iter().map(|line| format!("    | {line}\n")).collect()
}

/// Shows the time: on a terminal beside a rotating sign, in a log as a line every half minute.
struct Progress {
    start: Instant,
    terminal: bool,
    lines: u64,
}

impl Progress {
    const INTERVAL: u64 = 30;

    fn new() -> Self {
        Self { start: Instant::now(), terminal: io::stdout().is_terminal(), lines: 0 }
    }

    fn show(&mut self) {
        let elapsed = self.start.elapsed();
        if self.terminal {
            let sign = ['|', '/', '-', '\\'][(elapsed.as_millis() / 100 % 4) as usize];
            print!("\r    {sign} {} ", shown(elapsed));
            // If the terminal closes, SIGHUP ends this process.
            let _ = io::stdout().flush();
        } else if elapsed.as_secs() / Self::INTERVAL > self.lines {
            self.lines += 1;
            println!("    … {}", shown(elapsed));
        }
    }

    fn end(&self) {
        if self.terminal {
            print!("\r\x1b[K");
            let _ = io::stdout().flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(shown(Duration::from_millis(1234)), "1.2s");
        assert_eq!(shown(Duration::from_secs(125)), "2m05s");
    }

    #[test]
    fn the_tail_is_short() {
        let text: String = (0..100).map(|n| format!("{n}\n")).collect();
        assert_eq!(tail(&text).lines().count(), 12);
        assert!(tail(&text).ends_with("| 99\n"));
        assert_eq!(tail(""), "");
    }
}
