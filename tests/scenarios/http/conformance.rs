//! Conformance suites, with the same results through weft as without it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::{
    conformance::{Results, h2spec, interop},
    mesh::Mesh,
    programs::languages::{Go, server},
    suite::Area,
};

use super::paths::{Path, cluster, each_path};

pub(crate) fn area() -> Area {
    Area::new("http_conformance", cluster)
        .scenario(
            "grpc_interop",
            "gRPC's own interoperability tests have the same results directly and through weft.",
            grpc_interop,
        )
        .within(Duration::from_secs(500))
        .scenario(
            "h2spec",
            "h2spec passes at least the cases through weft that it passes directly.",
            h2spec_passes,
        )
        .within(Duration::from_secs(500))
}

/// Runs a suite directly, to the other node and on one node, compares the results and prints their counts.
fn compare(
    mesh: &Mesh,
    run: impl Fn(&Path<'_>) -> Result<Results>,
    judge: impl Fn(&Results, &Results) -> Result<()>,
) -> Result<()> {
    let mut all: Vec<(String, Results)> = Vec::new();
    each_path(mesh, |path| {
        all.push((path.server.name().to_owned(), run(path)?));
        Ok(())
    })?;
    for (server, results) in &all {
        let failed = results.failed().join("; ");
        println!("\n       {server}: {} of {} cases pass; not: {failed}", results.passed(), results.count());
    }
    let mut all = all.into_iter();
    let (_, direct) = all.next().context("no direct results")?;
    ensure!(direct.passed() > 0, "nothing passes directly");
    all.try_for_each(|(server, results)| {
        judge(&results, &direct).with_context(|| format!("the {server} server"))
    })
}

fn grpc_interop(mesh: &Mesh) -> Result<()> {
    let go = Go::ready()?;
    let run = |path: &Path<'_>| {
        let port = path.unused_port();
        let mut command = go.command(&path.server, "server")?;
        command.arg(format!("--port={port}"));
        let _server = server("interop server", &path.server, port, command)?;
        // An address: grpc-go would look a name up in DNS, which pods do not have.
        interop(&go, &path.client, path.service(port))
    };
    compare(mesh, run, Results::equal)
}

fn h2spec_passes(mesh: &Mesh) -> Result<()> {
    let go = Go::ready()?;
    let run = |path: &Path<'_>| {
        let port = path.unused_port();
        let mut command = go.command(&path.server, "http")?;
        command.args(["serve", &format!(":{port}")]);
        let _server = server("net/http", &path.server, port, command)?;
        h2spec(&go, &path.client, &format!("{}.test", path.server.name()), port)
    };
    compare(mesh, run, Results::at_least)
}
