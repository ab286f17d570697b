//! What can be asked of the control plane, and done to it?

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Weak},
};

use anyhow::{Context, Result};
use weft_vm::{Cluster, Daemon};

use crate::{logs::Log, metrics::Metrics};

/// The cluster's weft-control.
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

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Where its gRPC services are.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.cluster()?.control_address()?)
    }

    /// All that it counts.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::of(self.cluster()?.admin(&Daemon::Control)?)
    }

    /// Its process number.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.cluster()?.pid(&Daemon::Control)?)
    }

    /// kill -9; it stays dead.
    pub fn kill(&self) -> Result<()> {
        Ok(self.cluster()?.kill(&Daemon::Control)?)
    }

    /// Starts it after its death.
    pub fn revive(&self) -> Result<()> {
        Ok(self.cluster()?.start_daemon(&Daemon::Control)?)
    }

    /// Lets it hang (SIGSTOP).
    pub fn pause(&self) -> Result<()> {
        Ok(self.cluster()?.pause(&Daemon::Control)?)
    }

    /// Ends the hanging.
    pub fn resume(&self) -> Result<()> {
        Ok(self.cluster()?.resume(&Daemon::Control)?)
    }

    fn cluster(&self) -> Result<Arc<Cluster>> {
        self.cluster.upgrade().context("the cluster has been stopped")
    }
}
