//! Builds the Go programs.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Result;

use super::{
    super::cache::{cached, need, sources},
    files,
};
use crate::mesh::Pod;

/// The folder of the built programs.
pub struct Go {
    programs: PathBuf,
}

impl Go {
    /// Builds the module `tests/programs/go`, and the tools that its go.mod names, gRPC's interop suite and h2spec.
    pub fn ready() -> Result<Self> {
        let go = need("go", "golang-go")?;
        let folder = sources("go");
        let programs = cached("go", &files(&folder).unwrap_or_default(), LIMIT, |target| {
            let mut build = Command::new(go);
            build.current_dir(&folder).args(["build", "-buildvcs=false", "-mod=readonly", "-o"]);
            build.arg(target.join("")).args(["./...", "tool"]);
            vec![build]
        })?;
        Ok(Self { programs })
    }

    /// A program of the pod: `http`, `grpc`, `h2spec`, or `client` and `server` of gRPC's interop suite.
    pub fn command(&self, pod: &Pod, program: &str) -> Result<Command> {
        pod.command(&self.program(program).to_string_lossy())
    }

    /// The file of a program.
    pub fn program(&self, program: &str) -> PathBuf {
        self.programs.join(program)
    }
}

const LIMIT: Duration = Duration::from_secs(240);
