//! Compiles the Java programs.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Result;

use super::super::cache::{cached, need, sources};
use crate::mesh::Pod;

/// The folder of the compiled classes.
pub struct Java {
    program: PathBuf,
    classes: PathBuf,
}

impl Java {
    pub fn ready() -> Result<Self> {
        let program = need("java", "default-jre-headless")?;
        let compiler = need("javac", "default-jdk-headless")?;
        let files = ["Server.java", "Check.java"].map(|name| sources("java").join(name));
        let classes = cached("java", &files, LIMIT, |target| {
            let mut compile = Command::new(compiler);
            compile.args(["--release", "17", "-d"]).arg(target).args(&files);
            vec![compile]
        })?;
        Ok(Self { program, classes })
    }

    /// A program of `tests/programs/java`.
    pub fn command(&self, pod: &Pod, class: &str) -> Result<Command> {
        let mut command = pod.command(&self.program.to_string_lossy())?;
        command.arg("-cp").arg(&self.classes).arg(class);
        Ok(command)
    }
}

const LIMIT: Duration = Duration::from_secs(60);
