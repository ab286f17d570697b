//! The dashboard of `weft-vm run` in a real browser: the journeys of viz/web/tests/mesh.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use weft_tests::{
    mesh::artefacts::target_directory,
    suite::{Area, skip},
    wait,
};

pub(crate) fn area() -> Area {
    Area::without_cluster("viz_dashboard")
        .bare(
            "the_doughnut_is_found",
            "In Chromium, the start page leads by topology to the live calls of the method that fails, the copied command \
             finds it too, a lost connection comes back, tables show the API's figures, and axe finds nothing serious on \
             any page.",
            the_doughnut_is_found,
        )
        .within(Duration::from_secs(300))
}

/// Written when the dashboard is served.
const CONTEXT: &str = "/run/weft/run/context.json";
const BROWSER: &str = "/usr/bin/chromium";

fn the_doughnut_is_found() -> Result<()> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../viz/web");
    let vitest = web.join("node_modules/.bin/vitest");
    for (file, what) in
        [(Path::new(BROWSER), "Chromium"), (&vitest, "the front end's packages (npm ci in viz/web)")]
    {
        if !file.exists() {
            return Err(skip(format!("{what}: {} is missing", file.display())));
        }
    }
    if Command::new("node").arg("--version").output().is_err() {
        return Err(skip("no Node.js in PATH"));
    }
    let programs = target_directory()?.join("debug");
    let _cluster = Running::start(&programs)?;
    let mut journeys = Command::new(vitest);
    journeys
        .args(["run", "--config", "vitest.mesh.config.ts"])
        .current_dir(&web)
        .env("WEFT_DASHBOARD", dashboard()?)
        .env("WEFT_CLI", programs.join("weft"))
        .env("CHROMIUM", BROWSER);
    let output = journeys.output().context("vitest")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The dashboard's address, once it is served.
fn dashboard() -> Result<String> {
    let context: serde_json::Value = serde_json::from_str(&fs::read_to_string(CONTEXT)?)?;
    context["webUrl"].as_str().map(ToOwned::to_owned).context("no webUrl")
}

/// `weft-vm run` with the demo. It is stopped on drop.
struct Running(Child);

impl Running {
    fn start(programs: &Path) -> Result<Self> {
        let mut vm = Command::new(programs.join("weft-vm"));
        let child = vm.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let running = Self(child);
        wait::until_ok_for(Duration::from_secs(60), "the dashboard is served", dashboard)?;
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}
