//! `weft diagnostics profile`: what weft-control tells a proxy about a destination.

use anyhow::{Result, anyhow};
use clap::Args;
use kube::Client;
use weft_api::linkerd::destination::{GetDestination, destination_client::DestinationClient};

use super::policy::Format;
use crate::{
    control::{Control, ControlFlags, profile, refused},
    global::Global,
};

/// Print what a proxy is told about an address or name: a service, a pod, or something outside the cluster
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # By name
  weft diagnostics profile web-svc.emojivoto.svc.cluster.local:80

  # By address
  weft diagnostics profile 10.96.0.7:80")]
pub(super) struct ProfileArgs {
    /// NAME.NAMESPACE.svc.DOMAIN:PORT, or IP:PORT
    destination: String,
    /// How the profile is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// What a proxy says about its pod, as in '{"nodeName":"n1"}'
    #[arg(long, value_name = "TOKEN", default_value = "")]
    token: String,
    #[command(flatten)]
    control: ControlFlags,
}

pub(super) async fn run(global: &Global, client: &Client, args: &ProfileArgs) -> Result<()> {
    let control = Control::connect(global, client, &args.control).await?;
    let request = GetDestination {
        path: args.destination.clone(),
        context_token: args.token.clone(),
        ..GetDestination::default()
    };
    let about = || {
        format!("{} (write NAME.NAMESPACE.svc.{}:PORT or IP:PORT)", args.destination, control.cluster_domain)
    };
    let stream = DestinationClient::new(control.channel.clone()).get_profile(request).await;
    let mut stream = stream.map_err(|status| refused(&status, &about()))?.into_inner();
    // The profile of this moment comes first; later ones are changes.
    let first = stream.message().await.map_err(|status| refused(&status, &about()))?;
    let first = first.ok_or_else(|| anyhow!("weft-control said nothing about {}", args.destination))?;
    args.output.print(&profile(&first))
}
