//! What have processes used: processor time and memory?

use std::{
    fs,
    ops::{Add, Sub},
    time::Duration,
};

use anyhow::{Context, Result};

/// What some processes have used so far, together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time of all their threads, in user and kernel mode.
    pub processor: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

impl Usage {
    /// Of the processes `pids`.
    pub fn of(pids: &[u32]) -> Result<Self> {
        pids.iter().try_fold(Self::default(), |sum, pid| Ok(sum + Self::of_one(*pid)?))
    }

    /// Processor time since `before`.
    pub fn processor_since(&self, before: &Self) -> Duration {
        self.processor.sub(before.processor)
    }

    fn of_one(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("{path}: has a proxy ended?"))
        };
        let processor = processor(&read("stat")?).context("/proc/PID/stat")?;
        let resident = resident(&read("status")?).context("/proc/PID/status")?;
        Ok(Self { processor, resident })
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { processor: self.processor + other.processor, resident: self.resident + other.resident }
    }
}

/// utime + stime of a /proc/PID/stat, in ticks of 10 ms on every Linux that we know (USER_HZ is 100).
fn processor(stat: &str) -> Option<Duration> {
    // The name, in brackets, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(10 * (user + system)))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read() {
        let stat = "12 (a ) b) S 1 12 12 0 -1 4194560 9 0 0 0 150 25 7 7 20 0 4 0 100 1 1";
        assert_eq!(processor(stat), Some(Duration::from_millis(1750)));
        assert_eq!(processor("12 (x) S"), None);
    }

    #[test]
    fn a_status_is_read() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn our_own_usage_is_found() {
        let own = Usage::of(&[std::process::id()]).expect("usage");
        assert!(own.resident > 0);
    }
}
