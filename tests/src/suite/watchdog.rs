//! Runs a scenario with a time limit, and keeps the logs of a failure.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};

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
/// last lines, and the cluster is stopped, which also ends a thread that hangs on a connection.
pub(super) fn run(
    name: &str,
    limit: Duration,
    scenario: impl FnOnce(&Progress) -> Result<()> + Send + 'static,
) -> Result<(), String> {
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
    outcome.map_err(|e| {
        let mut text = format!("{e:#}");
        if let Some(mesh) = progress.mesh() {
            text += &artefacts::keep(&mesh, name);
            if let Err(e) = mesh.stop() {
                text += &format!("\nand the cluster did not stop cleanly: {e:#}");
            }
        }
        text
    })
}

fn text_of(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().cloned();
    text.or_else(|| panicked.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);
    /// For scenarios that end: a busy machine takes long to print a panic.
    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn a_scenario_that_hangs_fails() {
        let (_never, gate) = mpsc::channel::<()>();
        let outcome = run("hangs", LIMIT, move |_| Ok(gate.recv()?));
        assert!(outcome.unwrap_err().contains("not finished"));
    }

    #[test]
    fn a_panic_is_a_failure_with_its_text() {
        let outcome = run("panics", AMPLE, |_| panic!("pod {} is missing", "web"));
        assert!(outcome.unwrap_err().contains("pod web is missing"));
    }

    #[test]
    fn success_is_success() {
        assert_eq!(run("succeeds", AMPLE, |_| Ok(())), Ok(()));
    }
}
