//! A handle on the control plane.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use anyhow::{Context, Result};
use weft_vm::{Cluster, Daemon};

use crate::{logs::Log, metrics::Metrics};

pub struct Control {
    cluster: Weak<Cluster>,
    state: PathBuf,
    log: Log,
}

impl Control {
    pub(super) fn of(cluster: &Arc<Cluster>) -> Self {
        Self {
            cluster: Arc::downgrade(cluster),
            state: cluster.layout().control_state(),
            log: Log::at(cluster.log(&Daemon::Control)),
        }
    }

    /// A file of its state directory: `anchors.pem`, `issuer.pem`, `issuer-key.pem`, `tokens/<node>`.
    pub fn state(&self, file: &str) -> PathBuf {
        self.state.join(file)
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The folder with its files.
    pub fn folder(&self) -> &Path {
        &self.state
    }

    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::of(self.cluster()?.admin(&Daemon::Control)?)
    }

    pub fn pid(&self) -> Result<u32> {
        Ok(self.cluster()?.pid(&Daemon::Control)?)
    }

    /// Kills it with SIGKILL; it is not restarted.
    pub fn kill(&self) -> Result<()> {
        Ok(self.cluster()?.kill(&Daemon::Control)?)
    }

    /// Starts it after a kill.
    pub fn revive(&self) -> Result<()> {
        Ok(self.cluster()?.start_daemon(&Daemon::Control)?)
    }

    /// Stops it with SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        Ok(self.cluster()?.pause(&Daemon::Control)?)
    }

    /// Continues it with SIGCONT.
    pub fn resume(&self) -> Result<()> {
        Ok(self.cluster()?.resume(&Daemon::Control)?)
    }

    fn cluster(&self) -> Result<Arc<Cluster>> {
        self.cluster.upgrade().context("the cluster has been stopped")
    }
}
