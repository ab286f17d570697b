//! CPU time and memory of processes.

use std::{
    fs,
    ops::{Add, Sub},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// What some processes together have used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of all threads, in user and kernel mode.
    pub processor: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl Usage {
    pub fn of(pids: &[u32]) -> Result<Self> {
        pids.iter().try_fold(Self::default(), |sum, pid| Ok(sum + Self::of_one(*pid)?))
    }

    pub fn processor_since(&self, before: &Self) -> Duration {
        self.processor.sub(before.processor)
    }

    fn of_one(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status =
            fs::read_to_string(&path).with_context(|| format!("{path}: the proxy may have ended"))?;
        Ok(Self { processor: processor(pid)?, resident: resident(&status).context("VmRSS")? })
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { processor: self.processor + other.processor, resident: self.resident + other.resident }
    }
}

/// utime + stime to the nanosecond; /proc/PID/stat has them in ticks of 10 ms each.
fn processor(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).context("CPU time of a proxy")?;
    Ok(clock_gettime(clock)?.into())
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_parsed() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn the_usage_of_this_process_is_found() {
        let own = Usage::of(&[std::process::id()]).expect("usage");
        assert!(own.resident > 0);
        assert!(own.processor > Duration::ZERO);
    }
}
