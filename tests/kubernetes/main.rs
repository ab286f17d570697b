//! Tests of weft on a real Kubernetes of two nodes.
//!
//! `cargo xtask test [FILTER]` runs them after the scenarios. Begin reading with [`cluster`], which tests the cluster
//! itself.

use std::process::ExitCode;

use weft_tests::{kubernetes, suite};

mod cluster;
mod quick_start;

fn main() -> ExitCode {
    let code = suite::main(vec![cluster::area(), quick_start::area()]);
    kubernetes::end();
    code
}
