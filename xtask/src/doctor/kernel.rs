//! Checks the kernel's version and features.

use std::{fs, io::ErrorKind, path::Path};

use super::Finding;

/// `bpf_set_retval` is the newest helper in use: it makes a refused connect() fail with ECONNREFUSED, as without a
/// mesh, and not with EPERM. It is from 5.18, but connect programs may call it since 6.1. `weft-proxy check` tests what
/// the kernel really has.
const NEEDED: (u32, u32) = (6, 1);

pub(super) fn look() -> Vec<Finding> {
    vec![version(), btf(), bpffs(), cgroup(), jit()]
}

fn version() -> Finding {
    const WHAT: &str = "kernel version";
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    match parse_version(&release) {
        Some(version) if version >= NEEDED => Finding::good(WHAT, release),
        _ => Finding::missing(
            WHAT,
            if release.is_empty() { "unknown".into() } else { release },
            format!(
                "boot {}.{} or newer: its bpf_set_retval makes a refused connection fail as it does without a mesh",
                NEEDED.0, NEEDED.1
            ),
        ),
    }
}

/// Major and minor of `6.18.44-cloud-amd64`, `5.18-rc1`.
fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn btf() -> Finding {
    const WHAT: &str = "kernel BTF";
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    match fs::metadata(PATH) {
        Ok(_) => Finding::good(WHAT, PATH),
        Err(_) => Finding::missing(
            WHAT,
            format!("no {PATH}"),
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y (distributions' kernels have it): typed maps are checked against it",
        ),
    }
}

fn bpffs() -> Finding {
    const WHAT: &str = "bpf file system";
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.lines().any(|line| line.split_whitespace().last() == Some("bpf")) {
        return Finding::missing(WHAT, "unknown to the kernel", "boot a kernel with CONFIG_BPF_SYSCALL=y");
    }
    Finding::good(WHAT, "known to the kernel; pins survive a restart of the proxy")
}

fn cgroup() -> Finding {
    const WHAT: &str = "cgroup v2";
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some((place, options)) = cgroup2(&mounts) else {
        return Finding::missing(
            WHAT,
            "not mounted",
            "mount -t cgroup2 none /sys/fs/cgroup/unified (or boot with systemd.unified_cgroup_hierarchy=1): the \
             programs are attached to it",
        );
    };
    if options.split(',').any(|option| option == "ro") {
        return Finding::missing(
            WHAT,
            format!("{place} is read-only"),
            format!("mount -o remount,rw {place}"),
        );
    }
    if place == "/sys/fs/cgroup" {
        return Finding::good(WHAT, place);
    }
    Finding::good(WHAT, format!("{place} (beside v1)"))
}

/// Mount point and options of the first cgroup2. Fields as in proc_pid_mountinfo(5).
fn cgroup2(mounts: &str) -> Option<(&str, &str)> {
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(4);
        file_system.starts_with("cgroup2 ").then_some(())?;
        Some((mount.next()?, mount.next()?))
    })
}

fn jit() -> Finding {
    const WHAT: &str = "BPF compiler (JIT)";
    let path = Path::new("/proc/sys/net/core/bpf_jit_enable");
    match fs::read_to_string(path) {
        Ok(value) if value.trim() != "0" => Finding::good(WHAT, "on"),
        Ok(_) => {
            Finding::limited(WHAT, "off", "sysctl net.core.bpf_jit_enable=1: interpreted programs are slower")
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Finding::good(WHAT, "present (only root can see whether it is on)")
        }
        Err(_) => Finding::limited(
            WHAT,
            "none",
            "boot a kernel with CONFIG_BPF_JIT=y: interpreted programs are slower",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(parse_version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(parse_version("5.18-rc1"), Some((5, 18)));
        assert_eq!(parse_version("6.1.0-18-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse_version("unknown"), None);
        assert!(parse_version("6.12.0") > Some(NEEDED));
        assert!(parse_version("5.18.0") < Some(NEEDED));
        assert!(parse_version("6.1.0") >= Some(NEEDED));
    }

    #[test]
    fn cgroup2_is_found_in_a_hybrid_too() {
        let hybrid = "30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2(hybrid), Some(("/sys/fs/cgroup/unified", "rw,nosuid")));
        let only = "31 30 0:27 / /sys/fs/cgroup ro,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(cgroup2(only), Some(("/sys/fs/cgroup", "ro,relatime")));
        assert_eq!(cgroup2("30 24 0:26 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu\n"), None);
    }
}
