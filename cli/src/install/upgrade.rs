//! `weft upgrade`: prints the manifests of this version with the values of the installation.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    flags::{Format, ValueFlags},
    identity::{self, IdentityFlags},
    new, refuse, stored,
};
use crate::{
    global::Global,
    kubernetes::{CONFIG, ISSUER, connect, explain},
};

/// Print the manifests of an installation for this version of weft, to be piped into `kubectl apply -f -`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # To this version, with the values and certificates that the installation has
  weft upgrade --crds | kubectl apply -f -
  weft upgrade | kubectl apply -f -
  weft prune | kubectl delete -f -

  # Change a value
  weft upgrade --set controllerReplicas=2 | kubectl apply -f -

  # With what an earlier `weft install` printed, if the cluster has lost it
  weft upgrade --from-manifests weft.yaml | kubectl apply -f -

The output has the issuer's private key: treat it as a secret.")]
pub(crate) struct UpgradeArgs {
    /// Print the custom resource definitions, which must be upgraded first
    #[arg(long)]
    crds: bool,
    /// Take the values and certificates from manifests (`-`: from stdin) rather than from the cluster
    #[arg(long, value_name = "FILE")]
    from_manifests: Option<PathBuf>,
    /// The format of the manifests
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    values: ValueFlags,
    #[command(flatten)]
    identity: IdentityFlags,
}

pub(crate) async fn upgrade(global: &Global, args: &UpgradeArgs) -> Result<()> {
    if args.crds {
        return new::crds(global, args.output, true);
    }
    let namespace = &global.control_plane_namespace;
    let (config, issuer) = match &args.from_manifests {
        Some(path) => manifests(path)?,
        None => {
            let client = connect(global).await?;
            let installation = installed(&client, namespace).await?;
            refuse::without_crds(&client).await?;
            installation
        }
    };
    let mut values = stored::overrides(&config, issuer.as_ref())?;
    values = args.values.apply(values)?;
    values = args.identity.apply(values)?;
    let values = identity::complete(values, namespace)?;
    new::render(namespace, &values, true, args.output)
}

/// The ConfigMap and the Secret of the installation.
pub(super) async fn installed(client: &kube::Client, namespace: &str) -> Result<(ConfigMap, Option<Secret>)> {
    let config = Api::<ConfigMap>::namespaced(client.clone(), namespace)
        .get_opt(CONFIG)
        .await
        .map_err(|error| explain(error, "read the values of the installation"))?
        .ok_or_else(|| {
            anyhow!(
                "weft is not installed in the namespace {namespace}: there is no ConfigMap {CONFIG}; choose another \
                 namespace with -L, or run `weft install`"
            )
        })?;
    let labels = config.metadata.labels.as_ref();
    if labels.and_then(|labels| labels.get("app.kubernetes.io/managed-by")).is_some_and(|by| by == "Helm")
        || config
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|all| all.contains_key("meta.helm.sh/release-name"))
    {
        bail!("weft was installed with Helm; use `helm upgrade` (docs/install.md has the command)");
    }
    let issuer = Api::<Secret>::namespaced(client.clone(), namespace)
        .get_opt(ISSUER)
        .await
        .map_err(|error| explain(error, "read the issuer of the installation"))?;
    Ok((config, issuer))
}

fn manifests(path: &PathBuf) -> Result<(ConfigMap, Option<Secret>)> {
    let name = path.display();
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("cannot read stdin")?
    } else {
        fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?
    };
    let mut objects = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(&text) {
        objects.push(<Value as serde::Deserialize>::deserialize(document).with_context(|| name.to_string())?);
    }
    let config = find(&objects, "ConfigMap", CONFIG)?
        .ok_or_else(|| anyhow!("{name} has no ConfigMap {CONFIG}; it must be what `weft install` printed"))?;
    Ok((config, find(&objects, "Secret", ISSUER)?))
}

fn find<T: DeserializeOwned>(objects: &[Value], kind: &str, name: &str) -> Result<Option<T>> {
    let found = objects
        .iter()
        .find(|object| object["kind"] == json!(kind) && object["metadata"]["name"] == json!(name))
        .map(|object| serde_json::from_value(object.clone()).with_context(|| format!("{kind} {name}")));
    found.transpose()
}
