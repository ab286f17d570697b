//! Runs kubectl against the cluster.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::layout::{Layout, State};

/// kubectl as administrator.
pub(crate) fn command(layout: &Layout, state: &State, arguments: &[&str]) -> Command {
    let mut command = Command::new(state.program("kubectl"));
    command.arg("--kubeconfig").arg(layout.pki().join("admin.kubeconfig")).arg("--request-timeout=20s");
    // Not in root's home.
    command.arg("--cache-dir").arg(layout.root.join("kubectl-cache")).args(arguments);
    command
}

/// Its output; an error has what it wrote to stderr.
pub(crate) fn output(layout: &Layout, state: &State, arguments: &[&str]) -> Result<String> {
    let output = command(layout, state, arguments).stdin(Stdio::null()).output().context("kubectl")?;
    if !output.status.success() {
        bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Applies manifests.
pub(crate) fn apply(layout: &Layout, state: &State, manifests: &str) -> Result<()> {
    let mut command = command(layout, state, &["apply", "--server-side", "--force-conflicts", "-f", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("kubectl")?;
    if let Some(mut input) = child.stdin.take() {
        // If kubectl stops reading, it says why.
        let _ = input.write_all(manifests.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("kubectl apply: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
