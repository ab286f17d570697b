//! Removes the cluster of a `run` that was killed: a process that waits for its end.

use std::{
    io::{self, PipeWriter, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};

use crate::{down, layout::Layout, wait};

pub(super) struct Guard {
    child: Child,
    pipe: Option<PipeWriter>,
}

impl Guard {
    /// Starts the guard of this process's cluster, and has signals only be noted from now on, in both.
    pub(super) fn start(layout: &Layout) -> Result<Self> {
        wait::handle_signals()?;
        let (reader, writer) = io::pipe().context("a pipe")?;
        let own = std::env::current_exe().context("this program's own file")?;
        let child = Command::new(own)
            .args(["--name", &layout.name, "guard"])
            .stdin(reader)
            .stdout(Stdio::null())
            // Its own process group, so that Ctrl-C does not reach it.
            .process_group(0)
            .spawn()
            .context("the guard")?;
        Ok(Self { child, pipe: Some(writer) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.child.wait();
    }
}

/// Waits until stdin, a pipe from the guarded process, is closed: the kernel does that however the process ends.
pub(crate) fn wait_for_the_end(layout: &Layout) -> Result<ExitCode> {
    io::stdin().read_to_end(&mut Vec::new())?;
    if layout.root.exists() {
        down::down(layout)?;
    }
    Ok(ExitCode::SUCCESS)
}
