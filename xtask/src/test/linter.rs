//! Installs Grafana's dashboard-linter, which a scenario runs, where its module can be downloaded.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::Options;
use crate::{host, steps, steps::Steps};

const PROGRAM: &str = "dashboard-linter";
/// The version that the scenario names, too.
const MODULE: &str = "github.com/grafana/dashboard-linter@v0.1.0";
/// The scenario that runs it.
const SCENARIO: &str = "viz_grafana::linter";
const LIMIT: Duration = Duration::from_secs(300);

/// Tries once. Without a network or Go, the scenario is skipped: xtask's own tests check the same rules.
pub(super) fn install(options: &Options, steps: &mut Steps) -> Result<()> {
    if options.filter.as_deref().is_some_and(|filter| !SCENARIO.contains(filter)) {
        return Ok(());
    }
    steps.step("Grafana's linter", "a Go module, for its scenario", || {
        if let Err(error) = ensure() {
            println!("    NOT INSTALLED, so its scenario is skipped: {error:#}");
        }
        Ok(())
    })
}

fn ensure() -> Result<()> {
    let folder = Path::new(&env::var_os("HOME").context("HOME is not set")?).join(".cache/weft/go/bin");
    if host::which(PROGRAM).is_some() || folder.join(PROGRAM).is_file() {
        println!("    it is installed");
        return Ok(());
    }
    let usual = PathBuf::from("/usr/local/go/bin/go");
    let go = host::which("go").or_else(|| usual.is_file().then_some(usual));
    let go = go.context("there is no Go in PATH")?;
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut command = Command::new(go);
    command.env("GOBIN", &folder).env("GOTOOLCHAIN", "auto").env_remove("GOFLAGS").args(["install", MODULE]);
    steps::quiet(&mut command, "go-dashboard-linter", LIMIT)
}
