//! The library that scenarios are written with.
//!
//! A scenario (in `scenarios/`) describes a cluster, acts in its pods and checks bytes, metrics and logs. [`mesh`]
//! describes and runs the cluster; [`backends`] and [`load`] are servers and clients of this process inside the pods,
//! [`programs`] real ones; [`http`] is a strict HTTP/1 for both sides, [`http2`] an HTTP/2; [`attack`] is a TLS client for attacks, [`tap`] one of the proxies' Tap API, [`capture`] records packets, [`census`] counts the
//! resources in use to find leaks, [`texts`] are what they look for in logs, [`kubernetes`] runs tests on a real cluster, [`prometheus`] asks a Prometheus, [`suite`] runs it all. [`bench`] is the
//! benchmark, [`soak`] the soak test.

pub mod attack;
pub mod backends;
pub mod bench;
pub mod capture;
pub mod census;
pub mod conformance;
pub mod dial;
pub mod grpc;
pub mod grpc_bytes;
pub mod http;
pub mod http2;
pub mod kubernetes;
pub mod load;
pub mod logs;
pub mod mesh;
pub mod metrics;
pub mod netns;
pub mod programs;
pub mod prometheus;
pub mod soak;
pub mod stress;
pub mod suite;
pub mod tap;
pub mod texts;
pub mod wait;
