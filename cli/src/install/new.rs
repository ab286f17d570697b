//! `weft install`: prints the manifests of a new installation.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    flags::{Format, ValueFlags},
    identity::{self, IdentityFlags},
    output, refuse, stored,
};
use crate::{
    chart::{CONTROL_PLANE, CRDS, Release},
    global::Global,
    kubernetes::connect,
};

/// Print the manifests of weft, to be piped into `kubectl apply -f -`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # The kinds of policies, then the control plane and the node proxies
  weft install --crds | kubectl apply -f -
  weft install | kubectl apply -f -

  # Three replicas of the control plane, and images from a registry of your own
  weft install --ha --registry registry.example.org/weft | kubectl apply -f -

  # With a certificate authority of your own
  weft install --identity-trust-anchors-file ca.crt --identity-issuer-certificate-file issuer.crt \\
    --identity-issuer-key-file issuer.key | kubectl apply -f -

Without a certificate authority, one is made and is part of the output: treat the output as a secret.")]
pub(crate) struct InstallArgs {
    /// Print the custom resource definitions, which must be installed first
    #[arg(long)]
    crds: bool,
    /// Do not ask the cluster whether weft can be installed
    #[arg(long)]
    ignore_cluster: bool,
    /// The format of the manifests
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    values: ValueFlags,
    #[command(flatten)]
    identity: IdentityFlags,
}

pub(crate) async fn install(global: &Global, args: &InstallArgs) -> Result<()> {
    if args.crds {
        if !args.ignore_cluster {
            refuse::foreign_crds(&connect(global).await?).await?;
        }
        return crds(global, args.output, false);
    }
    let namespace = &global.control_plane_namespace;
    let values = args.values.apply(json!({ "installNamespace": true }))?;
    let values = args.identity.apply(values)?;
    if !args.ignore_cluster {
        let client = connect(global).await?;
        refuse::if_installed(&client, namespace).await?;
        refuse::without_crds(&client).await?;
        refuse::without_external_identity(&client, namespace, &values).await?;
    }
    let values = identity::complete(values, namespace)?;
    render(namespace, &values, false, args.output)
}

/// Prints the control plane for these overrides of the chart's values, which it keeps for the next upgrade.
pub(super) fn render(namespace: &str, overrides: &Value, upgrade: bool, format: Format) -> Result<()> {
    let documents = CONTROL_PLANE
        .render(&stored::with_overrides(overrides), &Release { namespace: namespace.to_owned(), upgrade })?;
    output::documents(&documents, format)
}

pub(super) fn crds(global: &Global, format: Format, upgrade: bool) -> Result<()> {
    let release = Release { namespace: global.control_plane_namespace.clone(), upgrade };
    let documents = CRDS.render(&Value::Object(Map::new()), &release)?;
    if documents.is_empty() {
        bail!("this build of weft has no custom resource definitions");
    }
    output::documents(&documents, format)
}
