//! Who cleans up after a `run` that was killed outright? A process that waits for its end.

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

/// Waits until stdin, a pipe from the guarded process, ends; that happens however that process ends.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let layout = Layout::new(&args.cluster)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    leftovers::clean_after(&layout)?;
    Ok(ExitCode::SUCCESS)
}

/// A running guard.
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
            // A group of its own: Ctrl-C is not for it.
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

/// Keeps the ending signals from ending this process at once; the result receives each, and `cancel` becomes true.
/// To be called before any thread or child starts, because they inherit it: the guard is deaf to them by that, the
/// cluster's processes are not (see `enter`).
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
