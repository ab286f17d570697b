//! Waits for conditions.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(100);

/// Repeats `attempt` until it succeeds; the error has the last failure. `what` names what is waited for.
pub(crate) fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => {
                bail!("not within {} s: {what}; at last: {error:#}", limit.as_secs())
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}
