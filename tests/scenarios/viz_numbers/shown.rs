//! Asks weft-viz, by its commands and by its API.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use weft_tests::mesh::artefacts::target_directory;
use weft_vm::{
    http,
    viz::{Context, Server},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Prometheus,
    Proxies,
}

/// A weft-viz and the file by which `weft viz` finds it.
pub(super) struct Shown {
    pub(super) source: Source,
    address: std::net::SocketAddr,
    folder: TempDir,
}

impl Shown {
    pub(super) fn new(source: Source, context: Context) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("context.json"), serde_json::to_string(&context)?)?;
        let address = context.web_url.trim_start_matches("http://").parse()?;
        Ok(Self { source, address, folder })
    }

    /// The data of a call.
    pub(super) fn api(&self, path: &str) -> Result<Value> {
        let answer = http::get(self.address, path)?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.body);
        let mut answer: Value = serde_json::from_str(&answer.body)?;
        Ok(answer["data"].take())
    }

    /// What a command prints as JSON.
    pub(super) fn command(&self, arguments: &str) -> Result<Value> {
        let output = self.prepare(arguments)?.output().context("weft")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "weft viz {arguments}: {said}");
        serde_json::from_slice(&output.stdout).with_context(|| format!("weft viz {arguments}: {said}"))
    }

    /// A command that runs until it is killed.
    pub(super) fn spawn(&self, arguments: &str) -> Result<Child> {
        self.prepare(arguments)?.stdout(Stdio::piped()).spawn().context("weft")
    }

    fn prepare(&self, arguments: &str) -> Result<Command> {
        let mut command = Command::new(target_directory()?.join("debug/weft"));
        let context = self.folder.path().join("context.json");
        command
            .args(["viz", &format!("--vm={}", context.display()), "-n", "test"])
            .args(arguments.split(' '))
            .args(["-o", "json"])
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// Fails until a weft-viz answers.
pub(super) fn answers(server: &Server) -> Result<()> {
    let answer = http::get(server.address(), "/api/resources")?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    Ok(())
}

/// The row with this name.
pub(super) fn find<'a>(rows: &'a Value, name: &str) -> Result<&'a Value> {
    let is_named = |row: &&Value| row["name"] == name || row["resource"]["name"] == name;
    let row = rows.as_array().into_iter().flatten().find(is_named);
    row.with_context(|| format!("there is no row {name}: {rows}"))
}
