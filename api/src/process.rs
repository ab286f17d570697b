//! The metrics that every process of weft has: `process_*`, with the names and meanings that Prometheus' clients use.

use std::{fmt, fs};

use nix::sys::resource::{UsageWho, getrusage};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Reads the metrics of its own process from the kernel when they are asked for. It belongs into a registry without a
/// prefix.
#[derive(Debug)]
pub struct ProcessMetrics {
    start_time: Option<f64>,
}

impl ProcessMetrics {
    #[must_use]
    pub fn new() -> Self {
        Self { start_time: start_time() }
    }
}

impl Default for ProcessMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let seconds: f64 = [usage.user_time(), usage.system_time()]
                .iter()
                .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
                .sum();
            let help = "Total user and system CPU time spent in seconds.";
            let encoder =
                encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(encoder)?;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |key| field(&status, key).map(|kib: f64| kib * 1024.0);
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        // One of the entries is the descriptor of the directory itself.
        let fds = fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count().max(1) - 1) as f64);
        for (name, help, value) in [
            ("process_start_time_seconds", "Time that the process started (Unix time).", self.start_time),
            ("process_resident_memory_bytes", "Resident memory size in bytes.", kib("VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes.", kib("VmSize:")),
            ("process_threads", "Number of OS threads in the process.", field(&status, "Threads:")),
            ("process_open_fds", "Number of open file descriptors.", fds),
            ("process_max_fds", "Maximum number of open file descriptors.", field(&limits, "Max open files")),
        ] {
            // Values that cannot be read are left out, not shown as 0.
            if let Some(value) = value {
                let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(encoder)?;
            }
        }
        Ok(())
    }
}

/// The number after `key` at the start of a line.
fn field(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name is in brackets and may contain anything, so field 22 is counted from its end.
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let boot = field(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
    Some(boot + ticks / USER_HZ)
}

/// Ticks per second in /proc. Fixed in Linux's ABI on all architectures that weft supports.
const USER_HZ: f64 = 100.0;

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn the_metrics_are_those_of_this_process() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics::new()));
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoded");
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0 && value("process_cpu_seconds_total") >= 0.0);
        // After the machine's start, and not in the future.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        let started = value("process_start_time_seconds");
        assert!(started > 1.7e9 && started <= now.as_secs_f64() + 1.0, "{started}");
    }
}
