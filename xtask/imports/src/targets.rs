//! Lists the crates of a workspace: every library, program, test, benchmark and build script.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub(crate) struct Target {
    /// For example `weft-proxy (lib)`.
    pub(crate) name: String,
    /// The file that the compiler starts with.
    pub(crate) root: PathBuf,
}

pub(crate) fn of(manifests: &[String]) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for manifest in manifests {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["metadata", "--no-deps", "--format-version=1", "--quiet", "--manifest-path", manifest]);
        let output = cargo.output().context("cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata {manifest}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let name = package["name"].as_str().unwrap_or_default();
            targets
                .extend(package["targets"].as_array().into_iter().flatten().filter_map(|t| target(name, t)));
        }
    }
    Ok(targets)
}

fn target(package: &str, target: &Value) -> Option<Target> {
    let kind = target["kind"][0].as_str()?;
    let root = PathBuf::from(target["src_path"].as_str()?);
    let name = target["name"].as_str()?;
    let name =
        if kind == "lib" { format!("{package} ({kind})") } else { format!("{package} ({kind} {name})") };
    Some(Target { name, root })
}
