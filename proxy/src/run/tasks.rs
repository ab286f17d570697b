//! The long-running tasks of the process. None of them may end while it serves.

use std::collections::HashMap;

use anyhow::anyhow;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};

/// Supervises the tasks: one that ends or panics is an error of the whole process.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<()>,
    names: HashMap<task::Id, &'static str>,
}

impl Tasks {
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.set.spawn(task_or_panic(name, task));
        self.names.insert(handle.id(), name);
        handle
    }

    /// Resolves when a task has ended that was not aborted; says which and why.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        loop {
            match self.set.join_next_with_id().await {
                Some(Ok((id, ()))) => return anyhow!("the internal task {} ended", self.name(id)),
                Some(Err(error)) if error.is_panic() => {
                    let name = self.name(error.id());
                    return anyhow!("the internal task {name} panicked: {}", panic_message(error));
                }
                // Aborted.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    fn name(&self, id: task::Id) -> &'static str {
        self.names.get(&id).copied().unwrap_or("?")
    }
}

fn panic_message(error: JoinError) -> String {
    let payload = error.into_panic();
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// For the tests of supervision: debug builds let the task named by `WEFT_PROXY_PANIC_TASK` panic when the file named by
/// `WEFT_PROXY_PANIC_FILE` appears.
#[cfg(debug_assertions)]
async fn task_or_panic(name: &'static str, task: impl Future<Output = ()>) {
    let named = std::env::var("WEFT_PROXY_PANIC_TASK").is_ok_and(|wanted| wanted == name);
    let file = std::env::var_os("WEFT_PROXY_PANIC_FILE").filter(|_| named);
    let panic = async move {
        let Some(file) = file else { return std::future::pending().await };
        while !std::path::Path::new(&file).exists() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("asked for by WEFT_PROXY_PANIC_FILE");
    };
    tokio::select! {
        () = task => {}
        () = panic => {}
    }
}

#[cfg(not(debug_assertions))]
async fn task_or_panic(_: &'static str, task: impl Future<Output = ()>) {
    task.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_and_a_panic_name_their_task() {
        let mut tasks = Tasks::default();
        tasks.spawn("waiting", std::future::pending());
        tasks.spawn("short", async {});
        assert_eq!(tasks.failed().await.to_string(), "the internal task short ended");
        tasks.spawn("broken", async { panic!("no {}", "luck") });
        assert_eq!(tasks.failed().await.to_string(), "the internal task broken panicked: no luck");
    }

    #[tokio::test]
    async fn an_aborted_task_is_no_failure() {
        let mut tasks = Tasks::default();
        tasks.spawn("aborted", std::future::pending()).abort();
        tasks.spawn("short", async {});
        assert_eq!(tasks.failed().await.to_string(), "the internal task short ended");
    }
}
