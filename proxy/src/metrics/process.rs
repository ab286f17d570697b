//! Metrics of the process and its build.

use std::{fmt, fs};

use nix::sys::resource::{UsageWho, getrusage};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
};

use super::transport::describe;

/// The families `process_*`, `proxy_build_info` and `rustls_info`.
#[derive(Debug)]
pub(super) struct Process {
    rustls: Info<Vec<(&'static str, String)>>,
    build: Info<Vec<(&'static str, String)>>,
    start_time: Option<f64>,
}

impl Process {
    pub(super) fn new(rustls: &[(&'static str, String)]) -> Self {
        let build = vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("profile", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
            ("vendor", "weft".to_owned()),
        ];
        Self { rustls: Info::new(rustls.to_vec()), build: Info::new(build), start_time: start_time() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.build.encode(describe(
            &mut encoder,
            "proxy_build",
            "The build of the proxy.",
            MetricType::Info,
        )?)?;
        self.rustls.encode(describe(&mut encoder, "rustls", "The TLS configuration.", MetricType::Info)?)?;
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let seconds: f64 = [usage.user_time(), usage.system_time()]
                .iter()
                .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
                .sum();
            let name = "process_cpu_seconds";
            let help = "Total user and system CPU time spent in seconds.";
            ConstCounter::new(seconds).encode(describe(&mut encoder, name, help, MetricType::Counter)?)?;
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
                ConstGauge::new(value).encode(describe(&mut encoder, name, help, MetricType::Gauge)?)?;
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
