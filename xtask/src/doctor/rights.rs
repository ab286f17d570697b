//! Checks root, capabilities, namespaces and limits.

use std::{
    fs,
    path::PathBuf,
    process::{self, Command},
};

use super::Finding;
use crate::host;

/// The capabilities that are needed, by their bits in capability.h.
const NEEDED: [(u32, &str); 5] =
    [(12, "NET_ADMIN"), (13, "NET_RAW"), (21, "SYS_ADMIN"), (38, "PERFMON"), (39, "BPF")];
/// For each of 2 000 connections, the tests open two sockets in each of four processes.
const FILES: u64 = 16_384;

pub(super) fn look() -> Vec<Finding> {
    let root = root();
    if root.is_missing() {
        return vec![root, files()];
    }
    vec![root, capabilities(), namespaces(), nftables(), files()]
}

fn root() -> Finding {
    const WHAT: &str = "root";
    if host::is_root() {
        return Finding::good(WHAT, "yes");
    }
    if host::which("sudo").is_some() {
        return Finding::good(WHAT, "no, but sudo is installed; run, exec and test use it where needed");
    }
    Finding::missing(WHAT, "no, and no sudo", "become root (su -), or install sudo")
}

fn capabilities() -> Finding {
    const WHAT: &str = "capabilities";
    if !host::is_root() {
        return Finding::good(WHAT, "sudo gives them");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lacking = lacking(&status);
    if lacking.is_empty() {
        return Finding::good(WHAT, NEEDED.map(|(_, name)| name).join(" "));
    }
    let options: String = lacking.iter().map(|name| format!(" --cap-add {name}")).collect();
    Finding::missing(
        WHAT,
        format!("missing: {}", lacking.join(" ")),
        format!("leave the container, or start it with more rights (docker run{options})"),
    )
}

fn lacking(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or(0);
    NEEDED.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect()
}

/// Runs as root without asking for a password: a report must not stop for one. The error is the program's message.
fn as_root(program: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = if host::is_root() {
        Command::new(program)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "--", program]);
        sudo
    };
    let output = command.args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(errors.lines().next().unwrap_or("failed without a message").to_owned())
}

/// Whether sudo would ask first.
fn must_ask() -> bool {
    !host::is_root() && as_root("true", &[]).is_err()
}

fn namespaces() -> Finding {
    const WHAT: &str = "network namespaces";
    if must_ask() {
        return Finding::limited(WHAT, "not tested: sudo would ask for a password", "sudo -v, then again");
    }
    match namespace() {
        Ok(()) => Finding::good(WHAT, "created one, mounted and removed it"),
        Err(reason) => Finding::missing(
            WHAT,
            reason,
            "CONFIG_NET_NS=y, and the right to unshare and to mount (no container)",
        ),
    }
}

/// Like a pod's: a namespace that a mount keeps alive.
fn namespace() -> Result<(), String> {
    let file = PathBuf::from(format!("/run/weft-doctor-{}", process::id()));
    let path = file.to_string_lossy();
    as_root("touch", &[&path])?;
    let made = as_root("unshare", &[&format!("--net={path}"), "true"]);
    let dropped = if made.is_ok() { as_root("umount", &[&path]) } else { Ok(()) };
    let removed = as_root("rm", &[&path]);
    made.and(dropped).and(removed)
}

fn nftables() -> Finding {
    const WHAT: &str = "nftables";
    if host::which("nft").is_none() {
        return Finding::limited(
            WHAT,
            "no program nft",
            "cargo xtask run installs it (apt-get install nftables)",
        );
    }
    if must_ask() {
        return Finding::limited(WHAT, "not tested: sudo would ask for a password", "sudo -v, then again");
    }
    // In a namespace of its own: the machine's rules are not touched.
    match as_root(
        "unshare",
        &[
            "--net",
            "nft",
            "add table inet weft; add chain inet weft nat { type nat hook output priority -100; }",
        ],
    ) {
        Ok(()) => Finding::good(WHAT, "created a nat table and removed it"),
        Err(reason) => Finding::missing(
            WHAT,
            reason,
            "modprobe nf_tables nft_nat (CONFIG_NF_TABLES, CONFIG_NFT_NAT): ClusterIPs of the dev VM",
        ),
    }
}

fn files() -> Finding {
    const WHAT: &str = "open files";
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    match hard_limit(&limits) {
        Some(limit) if limit >= FILES => Finding::good(
            WHAT,
            if limit == u64::MAX { "unlimited".into() } else { format!("at most {limit}") },
        ),
        limit => Finding::limited(
            WHAT,
            limit.map_or("unknown".into(), |limit| format!("at most {limit}")),
            format!("ulimit -Hn {FILES} as root: each connection takes two in the proxy"),
        ),
    }
}

/// The hard limit of `Max open files  1024  524288  files`.
fn hard_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lacking_capabilities_are_named() {
        assert!(lacking("CapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(lacking("CapEff:\t000000ffffdfefff\n"), ["NET_ADMIN", "SYS_ADMIN"]);
        assert_eq!(lacking("CapEff:\t0000000000000000\n").len(), NEEDED.len());
    }

    #[test]
    fn the_hard_limit_counts() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(hard_limit(text), Some(524_288));
        assert_eq!(hard_limit("Max open files 1024 unlimited files"), Some(u64::MAX));
        assert_eq!(hard_limit(""), None);
    }
}
