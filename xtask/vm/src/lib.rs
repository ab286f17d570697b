//! A small cluster on one machine: nodes, pods and processes made from namespaces of one kernel.
//!
//! [`Cluster::start`] creates all of it: two or more nodes, each a network namespace; the pods of a folder of
//! Kubernetes YAML, each with its own namespaces, addresses and processes; weft-control, and one weft-proxy per node.
//! Its files are below `/run/weft/<id>` ([`Layout`]). Dropping the [`Cluster`] removes everything.

#![deny(unsafe_code)]

mod allot;
mod cluster;
mod daemon;
mod desired;
mod endpoints;
#[allow(unsafe_code, reason = "what runs between fork and exec")]
mod enter;
mod error;
mod forward;
mod hosts;
mod kubectl_forward;
mod layout;
mod overlay;
mod podfile;
mod podspec;
mod sandbox;
mod screen;
mod tool;

pub mod cgroup;
pub mod http;
pub mod leftovers;
pub mod link;
pub mod netns;
pub mod nft;
pub mod process;
pub mod prom;
pub mod traffic;
pub mod viz;

pub use self::allot::NodeNet;
pub use self::cluster::{Cluster, ClusterConfig, Manifests, Report, Watcher};
pub use self::daemon::Daemon;
pub use self::error::{Error, Result};
pub use self::forward::{Forward, Service};
pub use self::kubectl_forward::KubectlForward;
pub use self::layout::{BASE, Layout, PodKey};
pub use self::podfile::PodFile;
pub use self::screen::Screen;
