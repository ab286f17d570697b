//! `weft version`: prints the versions of the tool, of the control plane and of the node proxies.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, Client, api::ListParams};

use crate::{
    global::Global,
    kubernetes::{self, PROXY_SELECTOR, explain},
    terminal::{print, say},
};

pub(crate) const CLIENT: &str = env!("CARGO_PKG_VERSION");

/// Print the versions of this tool, the control plane and the node proxies
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # This tool and the control plane
  weft version

  # Only this tool, as a plain number
  weft version --client --short

  # The node proxies, too
  weft version --proxy")]
pub(crate) struct VersionArgs {
    /// Only the version of this tool; needs no cluster
    #[arg(long)]
    client: bool,
    /// Only the numbers
    #[arg(long)]
    short: bool,
    /// The versions of the node proxies, too
    #[arg(long, conflicts_with = "client")]
    proxy: bool,
}

pub(crate) async fn run(global: &Global, args: &VersionArgs) -> Result<()> {
    let line = |name: &str, version: &str| {
        if args.short { print(&format!("{version}\n")) } else { print(&format!("{name}: {version}\n")) }
    };
    line("Client version", CLIENT)?;
    if args.client {
        return Ok(());
    }
    let client = kubernetes::connect(global).await;
    let server = match &client {
        Ok(client) => server_version(client, global).await,
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    line("Server version", known(&server, global))?;
    if args.proxy {
        let proxies = match &client {
            Ok(client) => proxy_versions(client, global).await,
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        match &proxies {
            Ok(versions) if !versions.is_empty() && args.short => {
                for version in versions.keys() {
                    print(&format!("{version}\n"))?;
                }
            }
            Ok(versions) if !versions.is_empty() => {
                print("Proxy versions:\n")?;
                for (version, nodes) in versions {
                    print(&format!(
                        "\t{version} ({nodes} {})\n",
                        if *nodes == 1 { "node" } else { "nodes" }
                    ))?;
                }
            }
            Ok(_) => line("Proxy versions", "unavailable")?,
            Err(error) => {
                line("Proxy versions", known(&Err(anyhow::anyhow!("{error:#}")), global))?;
            }
        }
    }
    Ok(())
}

fn known<'a>(version: &'a Result<String>, global: &Global) -> &'a str {
    match version {
        Ok(version) => version,
        Err(error) => {
            if global.verbose {
                say(&format!("{error:#}"));
            }
            "unavailable"
        }
    }
}

/// The version that the installation's ConfigMap is labelled with.
pub(crate) async fn server_version(client: &Client, global: &Global) -> Result<String> {
    let config = Api::<ConfigMap>::namespaced(client.clone(), &global.control_plane_namespace)
        .get(kubernetes::CONFIG)
        .await
        .map_err(|error| explain(error, "read the ConfigMap weft-config"))?;
    config.metadata.labels.unwrap_or_default().remove(kubernetes::VERSION_LABEL).ok_or_else(|| {
        anyhow::anyhow!("the ConfigMap weft-config has no label {}", kubernetes::VERSION_LABEL)
    })
}

/// How many nodes have which version of the proxy.
async fn proxy_versions(client: &Client, global: &Global) -> Result<BTreeMap<String, usize>> {
    let pods = Api::<Pod>::namespaced(client.clone(), &global.control_plane_namespace)
        .list(&ListParams::default().labels(PROXY_SELECTOR))
        .await
        .map_err(|error| explain(error, "list the node proxies"))?;
    let mut versions = BTreeMap::new();
    for pod in pods {
        let version = pod.metadata.labels.unwrap_or_default().remove(kubernetes::VERSION_LABEL);
        *versions.entry(version.unwrap_or_else(|| "unknown".to_owned())).or_insert(0) += 1;
    }
    Ok(versions)
}
