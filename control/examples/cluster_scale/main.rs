//! Measures weft-control as a process: with a real API server, 1 000 and 10 000 pods, and a proxy's streams for every
//! node. `cargo xtask bench control` builds and runs it.
#![forbid(unsafe_code)]
// Shared with the tests, in which a panic is a failure.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/api_server/api_server.rs"]
mod api_server;
mod changes;
mod control;
mod nodes;
mod objects;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/api_server/programs.rs"]
mod programs;
mod report;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;

use self::{
    api_server::ApiServer, changes::Changes, control::Control, nodes::Nodes, objects::Scale,
    programs::Programs, report::Figures,
};

#[derive(Debug, Parser)]
struct Args {
    /// The program weft-control
    #[arg(long, value_name = "FILE")]
    control: PathBuf,
    /// How it was built, for the report
    #[arg(long, default_value = "release")]
    build: String,
    /// The folder with etcd, kube-apiserver and kubectl; otherwise they are looked for as the tests do
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// The numbers of pods, in ascending order; there are 100 on each node, and 10 for each service
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    pods: Vec<usize>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if args.pods.is_empty() || !args.pods.is_sorted() || args.pods.iter().any(|pods| pods % 100 > 0) {
        bail!("--pods are multiples of 100 in ascending order");
    }
    let server =
        ApiServer::start(Programs::find_in(args.programs.as_deref()).map_err(anyhow::Error::msg)?).await;
    let client = server.client().await;
    objects::define_kinds(&server);
    let kubeconfig = server.kubeconfig("admin", server.address(), api_server::ADMIN_TOKEN);

    let mut figures = Vec::new();
    let mut there = Scale::none();
    for pods in args.pods {
        let scale = Scale::of(pods);
        let begun = Instant::now();
        objects::create(&client, &there, &scale).await.context("cannot create the objects")?;
        println!(
            "==> {} pods, {} services with {} endpoints each, {} nodes (created in {} s)",
            scale.pods,
            scale.services,
            objects::ENDPOINTS,
            scale.nodes,
            begun.elapsed().as_secs()
        );
        there = scale;
        figures.push(measure(&args.control, &kubeconfig, &client, &scale).await?);
    }
    report::print(&figures, &args.build);
    Ok(())
}

async fn measure(
    program: &std::path::Path,
    kubeconfig: &std::path::Path,
    client: &kube::Client,
    scale: &Scale,
) -> Result<Figures> {
    let (control, first_sync) = Control::start(program, kubeconfig).await?;
    let synced = control.memory()?;
    println!("    synced in {} ms, {} MB", first_sync.as_millis(), synced / 1_000_000);
    let nodes = Nodes::connect(&control, client, scale).await.context("the nodes' streams")?;
    println!(
        "    {} streams of {} nodes, {} MB",
        nodes.streams(),
        scale.nodes,
        control.memory()? / 1_000_000
    );
    let mut changes = Changes::new(client.clone(), *scale, nodes);
    let one = changes.one_by_one().await?;
    let busy = changes.at_a_rate(&control).await?;
    let memory = control.memory()?;
    let peak = control.peak_memory()?;
    let streams = changes.streams();
    changes.undo().await?;
    Ok(Figures { scale: *scale, first_sync, synced, memory, peak, streams, one, busy })
}
