//! gRPC: calls of every kind, deadlines and cancellation, between several implementations.

use std::time::Duration;

use anyhow::{Context, Result};
use weft_tests::{
    grpc_bytes::{self, BytesServer},
    mesh::Mesh,
    programs::{
        Program,
        languages::{Go, Python, check, server},
    },
    suite::Area,
};

use super::paths::{Path, cluster, each_path};

/// With the time to build or install what a scenario needs.
const LIMIT: Duration = Duration::from_secs(400);

pub(crate) fn area() -> Area {
    Area::new("http_grpc", cluster)
        .scenario(
            "tonic",
            "Calls of every kind, deadlines, cancellation and 16 MB messages work from tonic to tonic.",
            tonic,
        )
        .scenario(
            "go",
            "The same from grpc-go to grpc-go, from grpc-go to tonic, and from tonic to grpc-go.",
            go,
        )
        .within(LIMIT)
        .scenario(
            "python",
            "The same from grpcio to grpcio, from grpcio to tonic, and from tonic to grpcio.",
            python,
        )
        .within(LIMIT)
}

fn with_tonic_client(path: &Path<'_>, port: u16) -> Result<()> {
    grpc_bytes::check(path.client.netns(), path.service(port)).context("tonic's client")
}

fn tonic(mesh: &Mesh) -> Result<()> {
    each_path(mesh, |path| {
        let port = path.unused_port();
        let _server = BytesServer::start(&path.server, port)?;
        with_tonic_client(path, port)
    })
}

fn go(mesh: &Mesh) -> Result<()> {
    let go = Go::ready()?;
    let serve = |path: &Path<'_>, port: u16| -> Result<Program> {
        let mut command = go.command(&path.server, "grpc")?;
        command.args(["serve", &format!(":{port}")]);
        server("grpc-go", &path.server, port, command)
    };
    let with_go_client = |path: &Path<'_>, port: u16| {
        let mut client = go.command(&path.client, "grpc")?;
        client.args(["check", &path.host(port)]);
        check(client)
    };
    each_path(mesh, |path| {
        let (own, other) = (path.unused_port(), path.unused_port());
        let _servers = (serve(path, own)?, BytesServer::start(&path.server, other)?);
        with_go_client(path, own)?;
        with_go_client(path, other).context("tonic's server")?;
        with_tonic_client(path, own)
    })
}

fn python(mesh: &Mesh) -> Result<()> {
    let python = Python::ready()?;
    let serve = |path: &Path<'_>, port: u16| -> Result<Program> {
        let mut command = python.command(&path.server, "grpc_bytes.py")?;
        command.args(["serve", &port.to_string()]);
        server("grpcio", &path.server, port, command)
    };
    let with_python_client = |path: &Path<'_>, port: u16| {
        let mut client = python.command(&path.client, "grpc_bytes.py")?;
        client.args(["check", &path.host(port)]);
        check(client)
    };
    each_path(mesh, |path| {
        let (own, other) = (path.unused_port(), path.unused_port());
        let _servers = (serve(path, own)?, BytesServer::start(&path.server, other)?);
        with_python_client(path, own)?;
        with_python_client(path, other).context("tonic's server")?;
        with_tonic_client(path, own)
    })
}
