//! Tests of weft on a real Kubernetes of two nodes.
//!
//! `cargo xtask test [FILTER]` runs them after the scenarios. Begin reading with [`cluster`], which tests the cluster
//! itself.

use std::process::ExitCode;

use weft_tests::{kubernetes, suite};

mod certificates;
mod cluster;
mod images;
mod installed;
mod mesh;
mod node;
mod quick_start;
mod run;
mod viz;

fn main() -> ExitCode {
    // The quick start and `run` begin without weft; what comes after them installs weft and lets it stay.
    let code = suite::main(vec![
        images::area(),
        cluster::area(),
        quick_start::area(),
        run::area(),
        node::area(),
        mesh::area(),
        viz::area(),
    ]);
    kubernetes::end();
    code
}
