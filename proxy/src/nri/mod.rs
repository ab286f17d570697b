//! Speaks NRI, the plugin interface of containerd and CRI-O, to learn of pods before their containers start.
//!
//! The runtime calls `RunPodSandbox` when a pod has its network and none of its containers runs yet, and waits for the
//! answer. The protocol is ttrpc with protobuf messages on a multiplexed Unix socket (github.com/containerd/nri,
//! `pkg/api/api.proto`, `pkg/net/multiplex`). Only what is needed of it is here: docs/decisions/0024 says why.
#![forbid(unsafe_code)]

mod frame;
mod messages;
mod plugin;
mod sandbox;
mod session;

pub use self::{
    plugin::{Connection, Plugin},
    sandbox::{PodEvents, Sandbox},
};

#[cfg(test)]
mod tests;
