//! Waits for conditions.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};

const POLL: Duration = Duration::from_millis(100);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C, and signals that ask for the end, make [`until`] fail instead of ending this process. Programs that
/// are started inherit that the signals are blocked; [`accept_signals`] undoes it.
pub(crate) fn handle_signals() -> Result<()> {
    let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    set.thread_block().context("cannot block signals")?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        while set.wait().is_ok() {
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(())
}

/// Lets signals reach this process, and the program that it becomes.
pub(crate) fn accept_signals() -> Result<()> {
    SigSet::empty().thread_set_mask().context("cannot set the signal mask")
}

/// An error if a signal has asked for the end.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}

/// Repeats `attempt` until it succeeds; the error has the last failure. `what` names what is waited for.
pub(crate) fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        check()?;
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => {
                bail!("not within {} s: {what}; at last: {error:#}", limit.as_secs())
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}
