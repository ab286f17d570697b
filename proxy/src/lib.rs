//! What is weft-proxy made of?
//!
//! The modules follow a connection: capture brings it, identity and tls secure it, discovery and balance
//! find its endpoint, policy admits it, tcp moves its bytes, metrics tell of it.

pub mod admin;
pub mod app;
pub mod balance;
pub mod capture;
pub mod config;
pub mod detect;
pub mod discovery;
pub mod drain;
pub mod handover;
pub mod identity;
pub mod inbound;
pub mod local;
pub mod logging;
pub mod metrics;
pub mod outbound;
pub mod pass;
pub mod policy;
pub mod run;
pub mod share;
pub mod splice;
pub mod tcp;
pub mod threads;
pub mod tls;
pub mod workloads;
