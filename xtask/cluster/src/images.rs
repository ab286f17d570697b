//! Imports image archives into the nodes.

use std::{fs::File, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    layout::{Layout, State},
    node,
    say::say,
};

/// Imports archives into every node, and says what they hold.
pub(crate) fn load(layout: &Layout, files: &[PathBuf]) -> Result<()> {
    layout.state()?;
    for file in files {
        ensure!(file.is_file(), "{}: no such file", file.display());
    }
    node::each(|_, node| {
        for file in files {
            import(layout, node, file)?;
            say(format_args!("  {node} has the images of {}", file.display()));
        }
        Ok(())
    })
}

/// Imports the images that every node needs.
pub(crate) fn load_own(layout: &Layout, state: &State, node: &str) -> Result<()> {
    for name in OWN {
        import(layout, node, &state.programs.join("images").join(name))?;
    }
    Ok(())
}

/// In the order in which they are needed.
const OWN: [&str; 2] = ["pause.tar", "coredns.tar"];

fn import(layout: &Layout, node: &str, file: &PathBuf) -> Result<()> {
    let archive = File::open(file).with_context(|| file.display().to_string())?;
    let ctr = ["/kubernetes/bin/ctr", "--namespace", "k8s.io", "images", "import", "-"];
    let mut command = node::inside(layout, node, &ctr)?;
    let output = command.stdin(Stdio::from(archive)).output().context("ctr")?;
    if !output.status.success() {
        bail!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
