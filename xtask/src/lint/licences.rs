//! Checks licences, sources and banned crates with cargo-deny, which is installed if it is missing.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{host, steps};

const MANIFESTS: [&str; 2] = ["Cargo.toml", "proxy-ebpf/Cargo.toml"];

/// Advisories are left out: they change without a change of weft.
pub(super) fn check() -> Result<()> {
    let program = ensure()?;
    for manifest in MANIFESTS {
        let mut deny = Command::new(&program);
        // As cargo would start it.
        deny.args(["deny", "--log-level", "error", "--manifest-path", manifest, "--config", "deny.toml"]);
        deny.args(["check", "licenses", "bans", "sources"]).current_dir(host::root());
        host::stream(&mut deny)?;
    }
    Ok(())
}

/// The user's own cargo-deny, or one in ~/.cache/weft.
fn ensure() -> Result<PathBuf> {
    if let Some(program) = host::which("cargo-deny") {
        return Ok(program);
    }
    let home = env::var_os("HOME").context("HOME is not set")?;
    let folder = Path::new(&home).join(".cache/weft");
    let program = folder.join("bin/cargo-deny");
    if !program.is_file() {
        let mut cargo = host::cargo();
        cargo.args(["install", "cargo-deny", "--version", "^0.20", "--locked", "--root"]).arg(folder);
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        steps::quiet(&mut cargo, "cargo-deny", Duration::from_secs(1800))?;
    }
    Ok(program)
}
