//! Sets up the eBPF toolchain on a machine that has none.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    debian,
    ebpf::{
        find::{self, OLDEST, Toolchain},
        probe,
    },
    host, steps,
};

/// Finds the toolchain, or sets one up.
pub(crate) fn ensure() -> Result<Toolchain> {
    let tools = match find::find() {
        Ok(tools) => tools,
        Err(missing) => {
            println!("    not installed: {missing}");
            set_up()?
        }
    };
    println!("    {tools}");
    Ok(tools)
}

/// Uses the compiler that `$WEFT_EBPF_TOOLCHAIN` names; otherwise rustup's, which lack one component, then Debian's.
fn set_up() -> Result<Toolchain> {
    debian::ensure_package_lists()?;
    let mut reasons = Vec::new();
    let named = find::named();
    let is_named = named.is_some();
    for sysroot in named.unwrap_or_else(find::rustup_sysroots) {
        match complete(&sysroot, || add_source(&sysroot)) {
            Ok(tools) => return Ok(tools),
            Err(reason) => {
                println!("    {} cannot be used: {reason:#}", sysroot.display());
                reasons.push(format!("{}: {reason:#}", sysroot.display()));
            }
        }
    }
    if is_named {
        bail!(
            "the toolchain of WEFT_EBPF_TOOLCHAIN cannot be used or does not exist: {}",
            reasons.join("; ")
        );
    }
    install_compiler().and_then(|()| complete(Path::new("/usr"), || Ok(()))).map_err(|reason| {
        reasons.push(format!("Debian's packages: {reason:#}"));
        anyhow!("no toolchain can be used: {}", reasons.join("; "))
    })
}

/// Adds what a compiler lacks: the source of `core`, then a linker for its LLVM.
fn complete(sysroot: &Path, add_source: impl FnOnce() -> Result<()>) -> Result<Toolchain> {
    let rustc = sysroot.join("bin/rustc");
    let version = probe::version(&rustc).map_err(|reason| anyhow!(reason))?;
    if version.minor < OLDEST {
        bail!("{version} is older than 1.{OLDEST}");
    }
    let linked = find::linkers().iter().any(|linker| probe::links(&rustc, linker).is_ok());
    if !linked && llvm_config(version.llvm).is_none() && debian::candidate(&llvm_dev(version.llvm)).is_none()
    {
        bail!("bpf-linker needs LLVM {}, which apt does not have", version.llvm);
    }
    if !find::has_source(sysroot) {
        add_source()?;
    }
    if !linked {
        build_linker(version.llvm)?;
    }
    find::find().map_err(|missing| anyhow!("{missing}"))
}

fn add_source(sysroot: &Path) -> Result<()> {
    let name = sysroot.file_name().context("a toolchain without a name")?;
    let rustup = host::which("rustup").context("rustup is not installed")?;
    let mut command = Command::new(rustup);
    command.args(["component", "add", "rust-src", "--toolchain"]).arg(name);
    steps::quiet(&mut command, "rustup-rust-src", Duration::from_secs(120))
}

/// Debian's newest compiler: `rustc` if it is new enough, otherwise the one that Debian updates for web browsers.
fn install_compiler() -> Result<()> {
    if find::has_source(Path::new("/usr")) {
        return Ok(());
    }
    let new_enough = |package: &&[&str; 3]| {
        let version = debian::candidate(package[0]);
        version.and_then(|version| minor(&version)).is_some_and(|minor| minor >= OLDEST)
    };
    let choices = [["rustc", "rust-src", "cargo"], ["rustc-web", "rust-web-src", "cargo-web"]];
    let packages = choices
        .iter()
        .find(new_enough)
        .with_context(|| format!("apt has no Rust compiler of 1.{OLDEST} or newer"))?;
    debian::install(packages)
}

/// The 96 of `1.96.0+dfsg1-1~deb12u2`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

fn llvm_dev(llvm: u32) -> String {
    format!("llvm-{llvm}-dev")
}

/// The folder of an LLVM and its headers.
fn llvm_config(llvm: u32) -> Option<PathBuf> {
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    prefix.join("bin/llvm-config").is_file().then_some(prefix)
}

/// Installs to ~/.cache/weft: ~/.cargo/bin may have the user's own bpf-linker, for another LLVM.
fn build_linker(llvm: u32) -> Result<()> {
    if host::which("apt-get").is_some() {
        debian::install(&[&llvm_dev(llvm), &format!("libpolly-{llvm}-dev"), "g++"])?;
    }
    let prefix = llvm_config(llvm).with_context(|| format!("no /usr/lib/llvm-{llvm}/bin/llvm-config"))?;
    let home = env::var_os("HOME").context("HOME is not set")?;
    let mut command = host::cargo();
    command
        .args(["install", "bpf-linker", "--version", "^0.13", "--locked", "--force", "--no-default-features"])
        .args(["--features", &format!("llvm-{llvm}"), "--root"])
        .arg(Path::new(&home).join(".cache/weft"))
        .env("LLVM_PREFIX", prefix)
        // Halves the time to compile it. LLVM, a shared library, does its work.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    steps::quiet(&mut command, "bpf-linker", Duration::from_secs(1800))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_versions_are_read() {
        assert_eq!(minor("1.96.0+dfsg1-1~deb12u2"), Some(96));
        assert_eq!(minor("1.63.0+dfsg1-2"), Some(63));
        assert_eq!(minor("2:1.63"), None);
    }
}
