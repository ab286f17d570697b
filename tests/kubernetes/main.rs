//! Tests of weft on a real Kubernetes of two nodes.
//!
//! `cargo xtask test [FILTER]` runs them after the scenarios. Begin reading with [`cluster`], which tests the cluster
//! itself.

use std::process::ExitCode;

use weft_tests::{kubernetes, suite};

mod cluster;
mod installed;
mod node;

fn main() -> ExitCode {
    let code = suite::main(vec![cluster::area(), node::area()]);
    kubernetes::end();
    code
}
