//! Checks compilers and programs.

use super::Finding;
use crate::{debian, debian::Tool, ebpf, host};

pub(super) fn look() -> Vec<Finding> {
    vec![
        toolchain(),
        programs("for building", &debian::BUILD, "build"),
        programs("for running", &debian::RUN, "run"),
        programs("for tests", &debian::TEST, "test"),
        programs("for Kubernetes", &debian::KUBERNETES, "cluster up"),
    ]
}

fn toolchain() -> Finding {
    const WHAT: &str = "eBPF toolchain";
    match ebpf::find() {
        Ok(tools) => Finding::good(WHAT, tools.to_string()),
        Err(missing) => Finding::missing(WHAT, missing.to_string(), "cargo xtask build sets it up"),
    }
}

fn programs(what: &'static str, tools: &'static [Tool], command: &str) -> Finding {
    let missing: Vec<_> = debian::missing(tools).iter().map(|tool| tool.program).collect();
    if missing.is_empty() {
        return Finding::good(what, tools.iter().map(|tool| tool.program).collect::<Vec<_>>().join(" "));
    }
    let found = format!("missing: {}", missing.join(" "));
    if host::which("apt-get").is_none() {
        return Finding::missing(what, found, "install them (on Debian, cargo xtask does it)");
    }
    Finding::limited(what, found, format!("cargo xtask {command} installs them"))
}
