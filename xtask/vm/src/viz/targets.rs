//! Keeps the files of Prometheus' targets up to date: a daemon that is replaced listens at another port.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::config;
use crate::error::{Error, Result};
use crate::layout::Layout;

const INTERVAL: Duration = Duration::from_millis(250);

/// A thread that writes the files when an address has changed. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Targets {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Targets {
    /// `folder` is where the files are.
    pub(super) fn start(layout: Layout, nodes: Vec<String>, folder: PathBuf) -> Result<Self> {
        let mut written = vec![Value::Null; config::jobs().count()];
        write(&layout, &nodes, &folder, &mut written)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let follow = move || {
            while !stopped.load(Ordering::Relaxed) {
                // If it fails, the cluster's folder is being removed.
                let _ = write(&layout, &nodes, &folder, &mut written);
                thread::park_timeout(INTERVAL);
            }
        };
        let thread = thread::Builder::new()
            .name("targets".to_owned())
            .spawn(follow)
            .map_err(Error::io("start a thread for", "Prometheus' targets"))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It has printed its panic itself.
            let _ = thread.join();
        }
    }
}

/// Where weft-viz writes the address of its admin server.
pub(super) fn viz_state(layout: &Layout) -> PathBuf {
    layout.root.join("viz")
}

fn write(layout: &Layout, nodes: &[String], folder: &Path, written: &mut [Value]) -> Result<()> {
    for (name, written) in config::jobs().zip(written) {
        let targets = targets(name, layout, nodes);
        if targets == *written {
            continue;
        }
        let path = folder.join(format!("{name}.json"));
        let draft = folder.join(format!(".{name}"));
        fs::write(&draft, targets.to_string()).map_err(Error::io("write", &draft))?;
        // Prometheus never sees half of a file.
        fs::rename(&draft, &path).map_err(Error::io("write", &path))?;
        *written = targets;
    }
    Ok(())
}

/// `instance` is what the daemon is called: its address changes with every process.
fn targets(job: &str, layout: &Layout, nodes: &[String]) -> Value {
    let named = |state: PathBuf, labels: Value| {
        let address = fs::read_to_string(state.join("admin-address")).ok()?;
        Some(json!({"targets": [address.trim()], "labels": labels}))
    };
    let found: Vec<Value> = match job {
        "weft-proxy" => nodes
            .iter()
            .filter_map(|node| named(layout.proxy_state(node), json!({"node": node, "instance": node})))
            .collect(),
        "weft-control" => {
            let labels = json!({"namespace": "weft", "pod": "weft-control", "instance": "weft-control"});
            named(layout.control_state(), labels).into_iter().collect()
        }
        _ => {
            let labels =
                json!({"namespace": "weft-viz", "pod": "web", "component": "web", "instance": "web"});
            named(viz_state(layout), labels).into_iter().collect()
        }
    };
    Value::Array(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_named_after_its_node() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout { id: "x".into(), root: folder.path().to_owned() };
        let nodes = ["a".to_owned(), "b".to_owned()];
        fs::create_dir(layout.proxy_state("b")).unwrap();
        fs::write(layout.proxy_state("b").join("admin-address"), "127.0.0.1:4191\n").unwrap();
        let found = targets("weft-proxy", &layout, &nodes);
        assert_eq!(found, json!([{"targets": ["127.0.0.1:4191"], "labels": {"node": "b", "instance": "b"}}]));
    }
}
