//! Runs a scenario with a time limit, and keeps the logs of a failure.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use libtest_mimic::Completion;

use super::skip;
use crate::mesh::{Mesh, artefacts};

/// The cluster that a scenario runs on, once it is known.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Mutex<Option<Arc<Mesh>>>>);

impl Progress {
    pub(super) fn on(&self, mesh: &Arc<Mesh>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(mesh.clone());
    }

    fn mesh(&self) -> Option<Arc<Mesh>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Runs a scenario on its own thread for at most `limit`. After a failure the logs are kept, the error contains their
/// last lines, and the cluster is stopped, which also ends a thread that hangs on a connection. A skipped scenario is
/// not a failure.
pub(super) fn run(
    name: &str,
    limit: Duration,
    scenario: impl FnOnce(&Progress) -> Result<()> + Send + 'static,
) -> Result<Completion, String> {
    let progress = Progress::default();
    let (done, ended) = mpsc::channel();
    let running = progress.clone();
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let caught = panic::catch_unwind(AssertUnwindSafe(|| scenario(&running)));
        // After the limit nobody receives this.
        let _ =
            done.send(caught.unwrap_or_else(|panicked| Err(anyhow!("panicked: {}", text_of(&*panicked)))));
    });
    let outcome = match spawned {
        Ok(_) => ended.recv_timeout(limit).unwrap_or_else(|_| Err(anyhow!("not finished after {limit:?}"))),
        Err(e) => Err(e.into()),
    };
    let Err(e) = outcome else { return Ok(Completion::Completed) };
    if let Some(reason) = skip::reason(&e) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut text = format!("{e:#}");
    if let Some(mesh) = progress.mesh() {
        text += &artefacts::keep(&mesh, name);
        if let Err(e) = mesh.stop() {
            text += &format!("\nand the cluster did not stop cleanly: {e:#}");
        }
    }
    Err(text)
}

fn text_of(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().cloned();
    text.or_else(|| panicked.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::skip;

    const LIMIT: Duration = Duration::from_millis(200);
    /// For scenarios that end: a busy machine takes long to print a panic.
    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn a_scenario_that_hangs_fails() {
        let (_never, gate) = mpsc::channel::<()>();
        let outcome = run("hangs", LIMIT, move |_| Ok(gate.recv()?));
        assert!(failure(outcome).contains("not finished"));
    }

    #[test]
    fn a_panic_is_a_failure_with_its_text() {
        let outcome = run("panics", AMPLE, |_| panic!("pod {} is missing", "web"));
        assert!(failure(outcome).contains("pod web is missing"));
    }

    #[test]
    fn a_skipped_scenario_is_not_a_failure() {
        let outcome = run("skipped", AMPLE, |_| Err(skip("no such runtime").context("the far server")));
        let Ok(Completion::Ignored { reason }) = outcome else { panic!("it is not skipped") };
        assert_eq!(reason.as_deref(), Some("skipped: no such runtime"));
    }

    fn failure(outcome: Result<Completion, String>) -> String {
        outcome.err().unwrap_or_default()
    }

    #[test]
    fn success_is_success() {
        assert!(matches!(run("succeeds", AMPLE, |_| Ok(())), Ok(Completion::Completed)));
    }
}
