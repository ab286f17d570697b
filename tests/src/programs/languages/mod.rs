//! Servers and clients in other languages, whose sources are in `tests/programs`.
//!
//! A client checks the server that it is told, and prints `good`.

mod golang;
mod java;
mod node;
mod python;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

pub use self::{golang::Go, java::Java, node::Node, python::Python};
use super::{Home, Program};
use crate::mesh::Pod;

/// Starts `command` as a server of the pod, and waits until it listens on `port`.
pub fn server(name: &'static str, pod: &Pod, port: u16, command: Command) -> Result<Program> {
    Program::start(name, pod, port, command, Home::new(None)?, Signal::SIGKILL)
}

/// Runs a client that says `good` when everything was right.
pub fn check(mut command: Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("{program:?}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && out.trim() == "good", "{program:?}: {}\n{out}{err}", output.status);
    Ok(())
}

/// The files of a folder and of its folders, in an order that stays.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { files.extend(self::files(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}
