//! The scenarios: tests of weft on a real kernel, with real sockets and real programs.
//!
//! `cargo xtask test [FILTER]` runs them, `--list` lists them. Begin reading with [`first_request`].

use std::process::ExitCode;

use weft_tests::suite;

mod addresses;
mod admin;
mod attack;
mod boundary;
mod bytes;
mod change;
mod churn;
mod clients;
mod control;
mod direct;
mod dual_stack;
mod first_request;
mod fixed_source;
mod fixture;
mod hostile;
mod http;
mod http_mesh;
mod identity;
mod leaks;
mod mptcp;
mod opening;
mod policy;
mod refusals;
mod restart;
mod run;
mod servers;
mod splice;
mod supervision;
mod tap;
mod viz_dashboard;
mod viz_grafana;
mod viz_numbers;
mod wire;

fn main() -> ExitCode {
    let mut areas = vec![
        first_request::area(),
        bytes::area(),
        opening::area(),
        fixed_source::area(),
        mptcp::area(),
        addresses::area(),
        boundary::area(),
        dual_stack::area(),
        refusals::area(),
        supervision::area(),
        clients::area(),
        servers::area(),
        wire::area(),
        attack::area(),
        direct::area(),
        direct::attacks(),
        change::area(),
        control::area(),
        admin::area(),
        churn::area(),
        leaks::area(),
        restart::area(),
        identity::area(),
        splice::area(),
        run::area(),
        viz_dashboard::area(),
        viz_grafana::area(),
        viz_numbers::area(),
        tap::area(),
    ];
    areas.extend(policy::areas());
    areas.extend(http::areas());
    areas.extend(http_mesh::areas());
    areas.extend(hostile::areas());
    suite::main(areas)
}
