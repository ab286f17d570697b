//! `weft diagnostics`: what the control plane and the node proxies say, as it is.

mod endpoints;
mod metrics;
mod policy;
mod profile;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{global::Global, kubernetes::connect};

/// Print what the control plane and the node proxies say
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # The endpoints that the control plane tells proxies of a service
  weft diagnostics endpoints web-svc.emojivoto.svc.cluster.local:80

  # Who is let in to a port of a pod
  weft -n emojivoto diagnostics policy pod/web-5f4b8d6c9-2xk8p 8080

  # The metrics of the proxy that serves the pods of a deployment
  weft -n emojivoto diagnostics proxy-metrics deploy/web")]
pub(crate) struct DiagnosticsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    ControllerMetrics(metrics::ControllerMetricsArgs),
    ProxyMetrics(metrics::ProxyMetricsArgs),
    Endpoints(endpoints::EndpointsArgs),
    Policy(policy::PolicyArgs),
    Profile(profile::ProfileArgs),
}

pub(crate) async fn run(global: &Global, args: &DiagnosticsArgs) -> Result<()> {
    let client = connect(global).await?;
    match &args.command {
        Command::ControllerMetrics(_) => metrics::controller_metrics(global, &client).await,
        Command::ProxyMetrics(args) => metrics::proxy_metrics(global, &client, &args.resource).await,
        Command::Endpoints(args) => endpoints::run(global, &client, args).await,
        Command::Policy(args) => policy::run(global, &client, args).await,
        Command::Profile(args) => profile::run(global, &client, args).await,
    }
}
