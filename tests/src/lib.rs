//! What are scenarios written in?
//!
//! A scenario (in `scenarios/`) describes a cluster, acts in its pods and asserts on bytes, metrics and logs. These are
//! its words: [`mesh`] for the cluster, [`backends`] and [`load`] for servers and clients of this process inside the
//! pods, [`programs`] for real ones, [`attack`] for who does not belong, [`capture`] for who listens in on the wire,
//! [`holdings`] for what is left of it all, [`suite`] for running it. [`bench`] measures, [`soak`] wears out.

pub mod attack;
pub mod backends;
pub mod bench;
pub mod capture;
pub mod dial;
pub mod grpc;
pub mod holdings;
pub mod load;
pub mod logs;
pub mod mesh;
pub mod metrics;
pub mod netns;
pub mod programs;
pub mod soak;
pub mod stress;
pub mod suite;
pub mod wait;
