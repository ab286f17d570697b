//! Waiting for conditions, with a deadline.

use std::{
    env,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};

/// What "promptly" means: long enough for a busy two-core machine, far below the proxy's timeouts, which would cause
/// the same thing later.
pub const PROMPTLY: Duration = Duration::from_secs(5);

/// How long an enrollment, a watched change or a start may take.
pub const EVENTUALLY: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(10);

/// A factor for all limits: an emulated machine (`cargo xtask test --kernels`) is ten times slower.
const FACTOR: &str = "WEFT_TEST_PATIENCE";

/// Scales a limit for this machine. The functions of this module do it themselves.
pub fn here(limit: Duration) -> Duration {
    static TIMES: LazyLock<u32> =
        LazyLock::new(|| env::var(FACTOR).ok().and_then(|text| text.parse().ok()).unwrap_or(1).max(1));
    limit.saturating_mul(*TIMES)
}

/// Waits until `condition` holds; `what` names it in the error.
pub fn until(what: &str, condition: impl FnMut() -> bool) -> Result<()> {
    until_for(EVENTUALLY, what, condition)
}

/// [`until`] with another limit.
pub fn until_for(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let limit = here(limit);
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            bail!("did not happen within {limit:?}: {what}");
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Repeats `attempt` until it succeeds and returns its value; the error contains the last failure.
pub fn until_ok<T>(what: &str, attempt: impl FnMut() -> Result<T>) -> Result<T> {
    until_ok_for(EVENTUALLY, what, attempt)
}

/// [`until_ok`] with another limit.
pub fn until_ok_for<T>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let limit = here(limit);
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(e) if Instant::now() > deadline => {
                return Err(anyhow!("did not happen within {limit:?}: {what}; last error: {e:#}"));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// Runs `action` and fails if it took longer than [`PROMPTLY`].
pub fn promptly<T>(what: &str, action: impl FnOnce() -> T) -> Result<T> {
    let start = Instant::now();
    let value = action();
    let (took, limit) = (start.elapsed(), here(PROMPTLY));
    if took > limit {
        bail!("{what} took {took:?}, more than {limit:?}");
    }
    Ok(value)
}
