//! Waiting for what a cluster does: longer than for one program, and with pauses, because each look is a process.

use std::{thread, time::Duration};

use anyhow::Result;

pub use crate::wait::here;

/// How long a watched change, a request or a start of a pod may take beside other tests on two processors.
pub const EVENTUALLY: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(200);

/// Repeats `attempt` until it succeeds and returns its value; the error contains the last failure.
pub fn until_ok<T>(what: &str, attempt: impl FnMut() -> Result<T>) -> Result<T> {
    until_ok_for(EVENTUALLY, what, attempt)
}

/// [`until_ok`] with another limit.
pub fn until_ok_for<T>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    crate::wait::until_ok_for(limit, what, || attempt().inspect_err(|_| thread::sleep(PAUSE)))
}
