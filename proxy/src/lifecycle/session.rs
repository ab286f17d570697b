//! Keeps a session with a replica of the control plane.
//!
//! By its stream the replica knows that this node has a proxy; the states of the pods are reported to it. So every
//! replica can say at any time which pods are served, without a state of its own.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, info, warn};

use super::{
    StatusReporter, WatchConfig,
    node_api::{presence, retries},
};
use crate::control::{Replica, describe};

/// How long the replica may take to accept the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the proxy is for this node.
#[derive(Clone)]
pub enum Role {
    /// It serves the pods, and reports them, until the token is cancelled.
    Serving(Arc<StatusReporter>, CancellationToken),
    /// It serves no new connections: the session only shows which replicas can be asked.
    Draining,
}

/// Keeps a session until the replica is not listed any more, or this proxy leaves.
pub async fn keep_session(mut replica: Replica, config: WatchConfig, role: Role) {
    let mut backoff = retries();
    let mut is_failing = false;
    loop {
        let outcome = tokio::select! {
            biased;
            () = leaving(&role) => return,
            outcome = session(&replica, &config, &role, || {
                backoff.reset();
                is_failing = false;
            }) => outcome,
            () = replica.distrusted() => {
                info!(replica = %replica.address, "the trust anchors have changed; connecting to the control plane anew");
                replica.reconnect();
                continue;
            }
        };
        replica.lost();
        if !replica.is_listed() {
            info!(replica = %replica.address, "a replica of the control plane has gone");
            return;
        }
        let reason = outcome.as_ref().map_or_else(describe, |()| "it has ended the session".to_owned());
        // Not for each attempt.
        match std::mem::replace(&mut is_failing, true) {
            false => {
                warn!(replica = %replica.address, reason, "no session with a replica of the control plane; trying again")
            }
            true => {
                debug!(replica = %replica.address, reason, "no session with a replica of the control plane")
            }
        }
        tokio::select! {
            () = leaving(&role) => return,
            () = backoff.pause() => {}
        }
    }
}

async fn leaving(role: &Role) {
    match role {
        Role::Serving(_, leaving) => leaving.cancelled().await,
        Role::Draining => std::future::pending().await,
    }
}

async fn session(
    replica: &Replica,
    config: &WatchConfig,
    role: &Role,
    established: impl FnOnce(),
) -> Result<(), Status> {
    let is_draining = matches!(role, Role::Draining);
    let opening = presence(config, replica.channel(), is_draining);
    let mut stream = timeout(OPEN_TIMEOUT, opening)
        .await
        .map_err(|_| Status::deadline_exceeded("the session was not accepted in time"))??;
    debug!(replica = %replica.address, "session with a replica of the control plane");
    established();
    let following = async {
        // The first message says that it is ready. Others would be of a later version.
        while stream.message().await?.is_some() {
            replica.ready();
        }
        Ok(())
    };
    match role {
        Role::Draining => following.await,
        Role::Serving(reporter, _) => tokio::select! {
            ended = following => ended,
            never = reporter.report(config, replica.channel()) => match never {},
        },
    }
}

#[cfg(test)]
mod tests;
