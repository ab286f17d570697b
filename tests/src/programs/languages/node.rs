//! Installs the packages of Node.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::Result;

use super::super::cache::{cached, need, sources};
use crate::mesh::Pod;

/// A folder with the scripts and their packages.
pub struct Node {
    program: PathBuf,
    folder: PathBuf,
}

impl Node {
    pub fn ready() -> Result<Self> {
        let program = need("node", "nodejs")?;
        let npm = need("npm", "npm")?;
        let names = ["package.json", "package-lock.json", "server.js", "check.js"];
        let files = names.map(|name| sources("node").join(name));
        let folder = cached("node", &files, LIMIT, |target| {
            // A script finds packages in its own folder only.
            let mut copy = Command::new("cp");
            copy.args(&files).arg(target);
            let mut install = Command::new(npm);
            install.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
            install.current_dir(target);
            vec![copy, install]
        })?;
        // Node finds the packages by the script's real path.
        Ok(Self { program, folder: fs::canonicalize(folder)? })
    }

    /// A script of `tests/programs/node`.
    pub fn command(&self, pod: &Pod, script: &str) -> Result<Command> {
        let mut command = pod.command(&self.program.to_string_lossy())?;
        command.arg(self.folder.join(script));
        Ok(command)
    }
}

const LIMIT: Duration = Duration::from_secs(60);
