//! How does a scenario wait? For a condition, with a deadline, and never for a time.

use std::{
    env,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};

/// "Promptly" in a scenario's sentence: generous enough for a busy two-core machine, far below any timeout of
/// the proxy's that would make the same thing happen late.
pub const PROMPTLY: Duration = Duration::from_secs(5);

/// How long a state that must come about (an enrolment, a watched change, a start) may take.
pub const EVENTUALLY: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(10);

/// By how much everything may take longer: an emulated machine (`cargo xtask test --kernels`) is ten times slower.
const FACTOR: &str = "WEFT_TEST_PATIENCE";

/// How long `limit` is on this machine. The functions here ask for themselves.
pub fn here(limit: Duration) -> Duration {
    static TIMES: LazyLock<u32> =
        LazyLock::new(|| env::var(FACTOR).ok().and_then(|text| text.parse().ok()).unwrap_or(1).max(1));
    limit.saturating_mul(*TIMES)
}

/// Waits until `condition` holds; `what` completes the sentence "never came about: …".
pub fn until(what: &str, condition: impl FnMut() -> bool) -> Result<()> {
    until_for(EVENTUALLY, what, condition)
}

/// [`until`] with a deadline of its own.
pub fn until_for(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let limit = here(limit);
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            bail!("never came about within {limit:?}: {what}");
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Waits until `attempt` succeeds and hands its value on; the last failure is part of the error.
pub fn until_ok<T>(what: &str, attempt: impl FnMut() -> Result<T>) -> Result<T> {
    until_ok_for(EVENTUALLY, what, attempt)
}

/// [`until_ok`] with a deadline of its own.
pub fn until_ok_for<T>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let limit = here(limit);
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(e) if Instant::now() > deadline => {
                return Err(anyhow!("never came about within {limit:?}: {what}; at last: {e:#}"));
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
        bail!("{what}: took {took:?}, more than {limit:?}");
    }
    Ok(value)
}
