//! Installs the Python packages.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Result;

use super::super::cache::{cached, need, sources};
use crate::mesh::Pod;

/// A virtual environment with the packages of requirements.txt.
pub struct Python {
    environment: PathBuf,
}

impl Python {
    pub fn ready() -> Result<Self> {
        let python = need("python3", "python3 python3-venv")?;
        let requirements = sources("python").join("requirements.txt");
        let environment = cached("python", std::slice::from_ref(&requirements), LIMIT, |target| {
            let mut create = Command::new(python);
            create.args(["-m", "venv"]).arg(target);
            // Its own Python, because the scripts of an environment do not work after it was moved.
            let mut install = Command::new(target.join("bin/python3"));
            install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
            install.arg(&requirements);
            vec![create, install]
        })?;
        Ok(Self { environment })
    }

    /// A script of `tests/programs/python`.
    pub fn command(&self, pod: &Pod, script: &str) -> Result<Command> {
        let mut command = pod.command(&self.environment.join("bin/python3").to_string_lossy())?;
        command.arg(sources("python").join(script));
        Ok(command)
    }
}

const LIMIT: Duration = Duration::from_secs(120);
