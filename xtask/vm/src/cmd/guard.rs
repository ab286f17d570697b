//! Cleans up after a `weft-vm run` that was killed: a process that waits for its end.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use weft_vm::{Layout, leftovers};

/// Arguments of `weft-vm guard`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The cluster
    cluster: String,
}

/// Waits until stdin, a pipe from the guarded process, is closed: the kernel does that however the process ends.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let layout = Layout::new(&args.cluster)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    leftovers::clean_after(&layout)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) struct Guard {
    child: Child,
    pipe: Option<std::io::PipeWriter>,
}

impl Guard {
    /// Starts a guard of this process's cluster.
    pub(crate) fn start(cluster: &str) -> anyhow::Result<Self> {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let child = Command::new(own)
            .args(["guard", cluster])
            .stdin(reader)
            .stdout(Stdio::null())
            // Its own process group, so that Ctrl-C does not reach it.
            .process_group(0)
            .spawn()
            .context("cannot start the guard")?;
        Ok(Self { child, pipe: Some(writer) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.child.wait();
    }
}

/// Blocks SIGINT, SIGTERM and SIGHUP and returns a channel that receives them; each also sets `cancel`. Must be called
/// before any thread or child starts, because they inherit the mask. That is intended for the guard; the cluster's
/// processes reset it (see `enter`).
pub(crate) fn signals(cancel: Arc<AtomicBool>) -> anyhow::Result<std::sync::mpsc::Receiver<Signal>> {
    let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    set.thread_block().context("cannot block signals")?;
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        while let Ok(signal) = set.wait() {
            cancel.store(true, Ordering::Relaxed);
            if send.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(receive)
}
