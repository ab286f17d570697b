//! `weft prune`: prints the objects of earlier versions that this one does not have.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::{flags::Format, objects, output, stored, upgrade};
use crate::{
    chart::{CONTROL_PLANE, Release},
    global::Global,
    kubernetes::connect,
};

/// Print the objects of the installation that this version no longer has, to be piped into `kubectl delete -f -`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # After an upgrade
  weft prune | kubectl delete -f -")]
pub(crate) struct PruneArgs {
    /// The format of the manifests
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn prune(global: &Global, args: &PruneArgs) -> Result<()> {
    let client = connect(global).await?;
    let namespace = &global.control_plane_namespace;
    let (config, issuer) = upgrade::installed(&client, namespace).await?;
    let values = stored::with_overrides(&stored::overrides(&config, issuer.as_ref())?);
    let wanted = CONTROL_PLANE.render(&values, &Release { namespace: namespace.clone(), upgrade: true })?;
    let mut found = objects::installed(&client, namespace).await?;
    found.retain(|object| !wanted.iter().any(|document| same(&document.object, object)));
    output::objects(&found, args.output)
}

/// The same kind (of any version), namespace and name.
fn same(a: &Value, b: &Value) -> bool {
    let group = |object: &Value| {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        version.rsplit_once('/').map_or("", |(group, _)| group).to_owned()
    };
    group(a) == group(b)
        && a["kind"] == b["kind"]
        && a["metadata"]["name"] == b["metadata"]["name"]
        && a["metadata"]["namespace"] == b["metadata"]["namespace"]
}
