//! `weft uninstall`: prints the objects of the installation, for `kubectl delete`.

use anyhow::{Result, bail};
use clap::Args;
use k8s_openapi::api::{
    apps::v1,
    batch::v1 as batch,
    core::v1::{Namespace, Pod},
};
use kube::{Api, Client, Resource, api::ListParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{flags::Format, objects, output, refuse};
use crate::{
    global::Global,
    kubernetes::{INJECT, connect, explain},
};

/// Print the objects of the installation, to be piped into `kubectl delete -f -`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # Remove the control plane and the node proxies; pods keep running, without the mesh
  weft uninstall | kubectl delete -f -

  # Remove the kinds of policies, too, and with them every policy
  weft uninstall --crds | kubectl delete -f -")]
pub(crate) struct UninstallArgs {
    /// Print the custom resource definitions instead; deleting them deletes every policy
    #[arg(long)]
    crds: bool,
    /// Even if workloads are still in the mesh
    #[arg(long)]
    force: bool,
    /// The format of the manifests
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn uninstall(global: &Global, args: &UninstallArgs) -> Result<()> {
    let client = connect(global).await?;
    if args.crds {
        let needed = refuse::needed_crds()?;
        let all = objects::labelled(&client, &objects::CRDS, "").await?;
        let ours: Vec<_> = all
            .into_iter()
            .filter(|crd| needed.iter().any(|(name, _)| crd["metadata"]["name"] == json!(name)))
            .collect();
        if ours.is_empty() {
            bail!("none of weft's custom resource definitions is installed");
        }
        return output::objects(&ours, args.output);
    }
    let namespace = &global.control_plane_namespace;
    let found = objects::installed(&client, namespace).await?;
    if found.is_empty() {
        bail!(
            "no objects of weft were found in the namespace {namespace}; choose the control plane's namespace with -L"
        );
    }
    if !args.force {
        let meshed = meshed(&client).await?;
        if !meshed.is_empty() {
            bail!(
                "these are still in the mesh:\n{}\nTake them out first: their new connections would no longer be \
                 encrypted or, with config.weft.dev/fail-mode: closed, be refused.\n\n  kubectl -n NAMESPACE get \
                 deploy -o yaml | weft uninject - | kubectl apply -f -\n  kubectl annotate namespace NAMESPACE \
                 {INJECT}-\n\nOr uninstall anyway, with --force.",
                meshed.iter().map(|one| format!("  {one}\n")).collect::<String>()
            );
        }
    }
    output::objects(&found, args.output)
}

/// The namespaces, workloads and pods whose own metadata puts them into the mesh.
async fn meshed(client: &Client) -> Result<Vec<String>> {
    let mut meshed = Vec::new();
    let namespaces = Api::<Namespace>::all(client.clone()).list_metadata(&ListParams::default()).await;
    for namespace in namespaces.map_err(|error| explain(error, "list namespaces"))? {
        if enabled(namespace.metadata.annotations.as_ref()) {
            meshed.push(format!("namespace/{}", namespace.metadata.name.unwrap_or_default()));
        }
    }
    workloads::<v1::Deployment>(client, "deployment", &mut meshed).await?;
    workloads::<v1::StatefulSet>(client, "statefulset", &mut meshed).await?;
    workloads::<v1::DaemonSet>(client, "daemonset", &mut meshed).await?;
    workloads::<batch::CronJob>(client, "cronjob", &mut meshed).await?;
    workloads::<batch::Job>(client, "job", &mut meshed).await?;
    // Those of a pod template that is annotated, and pods without an owner.
    workloads::<Pod>(client, "pod", &mut meshed).await?;
    Ok(meshed)
}

async fn workloads<K>(client: &Client, kind: &str, meshed: &mut Vec<String>) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let all = Api::<K>::all(client.clone()).list_metadata(&ListParams::default()).await;
    for object in all.map_err(|error| explain(error, &format!("list {kind}s")))? {
        if enabled(object.metadata.annotations.as_ref()) {
            let (namespace, name) = (object.metadata.namespace, object.metadata.name);
            meshed.push(format!("{kind}/{} in {}", name.unwrap_or_default(), namespace.unwrap_or_default()));
        }
    }
    Ok(())
}

fn enabled(annotations: Option<&std::collections::BTreeMap<String, String>>) -> bool {
    annotations.and_then(|all| all.get(INJECT)).is_some_and(|value| value == "enabled" || value == "ingress")
}
