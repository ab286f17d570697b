//! Lists the Debian packages that commands need, and installs those that are missing.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{host, steps};

/// A program and its package.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// A C compiler needs libc6-dev too, which its package only recommends. aws-lc-sys needs no more than that: it uses
/// cmake only for FIPS, sanitizers and targets without prepared bindings.
pub(crate) const BUILD: [Tool; 1] = [tool("cc", "gcc libc6-dev")];

/// Sets up network namespaces, and ClusterIPs inside them.
pub(crate) const RUN: [Tool; 3] =
    [tool("ip", "iproute2"), tool("nft", "nftables"), tool("unshare", "util-linux")];

/// Keeps the figures that the dashboard shows.
pub(crate) const VIZ: [Tool; 1] = [tool("prometheus", "prometheus")];

/// What looks at the dashboard.
pub(crate) const BROWSER: [Tool; 1] = [tool("chromium", "chromium")];

/// Real clients and servers for the scenarios.
pub(crate) const TEST: [Tool; 18] = [
    tool("curl", "curl"),
    tool("socat", "socat"),
    tool("python3", "python3 python3-venv"),
    tool("nc", "netcat-openbsd"),
    tool("ps", "procps"),
    tool("nginx", "nginx"),
    tool("apache2", "apache2"),
    tool("haproxy", "haproxy"),
    tool("redis-server", "redis-server"),
    tool("redis-cli", "redis-tools"),
    tool("postgres", "postgresql"),
    tool("psql", "postgresql-client"),
    tool("mariadbd", "mariadb-server"),
    tool("mariadb", "mariadb-client"),
    tool("sshd", "openssh-server"),
    tool("ssh", "openssh-client"),
    tool("faketime", "faketime"),
    tool("prometheus", "prometheus"),
];

/// The proxies that the benchmark compares with.
pub(crate) const BENCH: [Tool; 2] = [tool("haproxy", "haproxy"), tool("nginx", "nginx")];

/// A public load generator, to check the benchmark's own.
pub(crate) const H2LOAD: [Tool; 1] = [tool("h2load", "nghttp2-client")];

/// What a node of a real Kubernetes needs beside its own programs, and what builds images.
pub(crate) const KUBERNETES: [Tool; 8] = [
    tool("runc", "runc"),
    tool("ptp", "containernetworking-plugins"),
    tool("iptables", "iptables"),
    tool("buildah", "buildah"),
    tool("busybox", "busybox-static"),
    tool("curl", "curl"),
    tool("socat", "socat"),
    tool("nc", "netcat-openbsd"),
];

/// Builds images of weft's programs.
pub(crate) const IMAGES: [Tool; 2] = [tool("buildah", "buildah"), tool("strip", "binutils")];

/// Downloads a compiler.
pub(crate) const DOWNLOAD: [Tool; 2] = [tool("curl", "curl ca-certificates"), tool("unzip", "unzip")];

/// An emulator, the programs in its file system, and what unpacks kernels.
pub(crate) const KERNELS: [Tool; 7] = [
    tool("qemu-system-x86_64", "qemu-system-x86"),
    tool("busybox", "busybox-static"),
    tool("strip", "binutils"),
    tool("xz", "xz-utils"),
    tool("zstd", "zstd"),
    tool("ip", "iproute2"),
    tool("nft", "nftables"),
];

pub(crate) fn missing(tools: &'static [Tool]) -> Vec<&'static Tool> {
    tools.iter().filter(|tool| find(tool.program).is_none()).collect()
}

/// PostgreSQL's server and network plugins are not in any PATH.
fn find(program: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let servers = versions.map(|version| version.path().join("bin"));
    let mut others = servers.chain([PathBuf::from("/usr/lib/cni")]).map(|folder| folder.join(program));
    host::which(program).or_else(|| others.find(|file| file.is_file()))
}

/// Installs the packages of the programs that are missing.
pub(crate) fn ensure(tools: &'static [Tool]) -> Result<()> {
    let missing = missing(tools);
    if missing.is_empty() {
        println!("    all installed");
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|tool| tool.program).collect();
    let packages: Vec<_> = missing.iter().flat_map(|tool| tool.package.split(' ')).collect();
    println!("    missing: {}", programs.join(", "));
    install(&packages).with_context(|| format!("missing programs: {}", programs.join(", ")))?;
    match self::missing(tools).first() {
        Some(tool) => bail!("the package {} has no program {}", tool.package, tool.program),
        None => Ok(()),
    }
}

/// Installs packages without starting their services.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if host::which("apt-get").is_none() {
        bail!(
            "this is not Debian (no apt-get): install the programs of Debian's packages {}",
            packages.join(" ")
        );
    }
    if !packages.iter().all(|package| candidate(package).is_some()) {
        update()?;
        if let Some(unknown) = packages.iter().find(|package| candidate(package).is_none()) {
            bail!("apt has no package {unknown}");
        }
        return install_known(packages);
    }
    install_known(packages).or_else(|first| {
        println!("    failed; updating the package lists, which may be old");
        update().and_then(|()| install_known(packages)).context(first)
    })
}

fn install_known(packages: &[&str]) -> Result<()> {
    let mut command = host::privileged("/bin/sh", "installing Debian packages")?;
    command.args(["-c", INSTALL, "install-packages"]).args(packages);
    steps::quiet(&mut command, "apt-get-install", Duration::from_secs(1800))
}

/// Updates the package lists if there are none, as in a fresh container: `candidate` needs them.
pub(crate) fn ensure_package_lists() -> Result<()> {
    if host::which("apt-get").is_some() && candidate("gcc").is_none() { update() } else { Ok(()) }
}

fn update() -> Result<()> {
    let mut command =
        host::privileged(host::which("apt-get").context("no apt-get")?, "updating package lists")?;
    command.args(["-q", "-o", "DPkg::Lock::Timeout=120", "update"]);
    steps::quiet(&mut command, "apt-get-update", Duration::from_secs(600))
}

/// The version of a package that apt would install.
pub(crate) fn candidate(package: &str) -> Option<String> {
    let output = Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C").output().ok()?;
    parse_candidate(&String::from_utf8_lossy(&output.stdout))
}

fn parse_candidate(policy: &str) -> Option<String> {
    let line = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?;
    Some(line.trim().to_owned()).filter(|version| version != "(none)")
}

/// A shell script, because its traps run also when it is interrupted. policy-rc.d tells the packages' scripts not to
/// start services. The machine's own file is left alone; one that was left over by a kill -9 is replaced.
/// `--no-remove`: Debian's rustc would replace Debian's rustup.
const INSTALL: &str = r#"
set -eu
policy=/usr/sbin/policy-rc.d
mark='# weft: temporary, while packages are being installed'
if [ ! -e "$policy" ] || grep -qxF "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" > "$policy"
    chmod 755 "$policy"
fi
DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
    install --no-install-recommends --no-remove "$@"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_read() {
        let known = "socat:\n  Installed: (none)\n  Candidate: 1.7.4.4-2\n  Version table:\n";
        assert_eq!(parse_candidate(known).as_deref(), Some("1.7.4.4-2"));
        assert_eq!(parse_candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }
}
