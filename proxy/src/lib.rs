//! weft's node proxy.
//!
//! The modules follow a connection: `capture` brings it, `connection` has its steps, `discovery` and `balance` find an
//! endpoint, `authorize` asks the policy, `upstream` connects, `tls` and `identity` secure it, `metrics` counts it.
//! `nri` and `lifecycle` enroll the node's pods, `run` starts and ends the process. A module imports only modules below it.

#![deny(unsafe_code)]

pub mod admin;
pub mod authorize;
pub mod balance;
pub mod bypass;
pub mod capture;
pub mod config;
pub mod connection;
pub mod control;
pub mod detect;
pub mod discovery;
#[cfg(test)]
mod fuzz;
pub mod handover;
pub mod http;
pub mod identity;
pub mod lifecycle;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod nri;
pub mod policy;
pub mod refusal;
pub mod run;
pub mod splice;
pub mod tap;
pub mod threads;
pub mod tls;
pub mod upstream;
pub mod workload;
