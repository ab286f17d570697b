//! `weft viz install` and `uninstall`: print manifests for `kubectl apply` and `kubectl delete`.

use anyhow::{Result, bail};
use clap::Args;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, Client, api::ListParams};
use serde_json::{Value, json};

use super::options::VizOptions;
use crate::{
    chart::{Release, VIZ, parse_values},
    global::Global,
    install::{Format, KINDS, Kind, SetFlags, labelled, lay_over, print_documents, print_objects},
    kubernetes::{CONFIG, connect, explain},
};

/// The label of all objects of weft-viz. Its namespace has it, too.
const SELECTOR: &str = "linkerd.io/extension=viz";

/// Kinds of objects that weft-viz has beside those of the control plane.
const MORE_KINDS: &[Kind] = &[
    ("apiregistration.k8s.io", "v1", "APIService", "apiservices"),
    ("policy.linkerd.io", "v1alpha1", "AuthorizationPolicy", "authorizationpolicies"),
    ("policy.linkerd.io", "v1alpha1", "MeshTLSAuthentication", "meshtlsauthentications"),
    ("policy.linkerd.io", "v1alpha1", "NetworkAuthentication", "networkauthentications"),
    ("policy.linkerd.io", "v1beta3", "Server", "servers"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
];

/// Values that weft-viz shares with the control plane.
const SHARED: &[&str] = &[
    "clusterDomain",
    "identityTrustDomain",
    "imagePullPolicy",
    "imagePullSecrets",
    "imageRegistry",
    "weftVersion",
];

/// Print the manifests of weft-viz (dashboard, taps, Prometheus), to be piped into `kubectl apply -f -`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft viz install | kubectl apply -f -
  weft viz check

  # Keep figures for a week, on a volume
  weft viz install --set prometheus.retention=7d,prometheus.persistence.enabled=true | kubectl apply -f -

  # With a Prometheus of your own
  weft viz install --set prometheus.enabled=false,prometheusUrl=http://prometheus.monitoring:9090 | kubectl apply -f -

  # Change an installation, or bring it to this version; give all values again
  weft viz install --upgrade -f values.yaml | kubectl apply -f -

Registry, version and domains are those of the control plane, unless values say otherwise.
deploy/charts/weft-viz/README.md has all values; docs/viz.md says how to use them.")]
pub(crate) struct InstallArgs {
    /// Change an installation that exists
    #[arg(long)]
    upgrade: bool,
    /// Ask the cluster neither whether weft-viz can be installed nor for the control plane's values
    #[arg(long)]
    ignore_cluster: bool,
    /// Set up several replicas, on different nodes
    #[arg(long)]
    ha: bool,
    /// The registry of the images
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<String>,
    /// The format of the manifests
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    values: SetFlags,
}

/// Print the objects of weft-viz, to be piped into `kubectl delete -f -`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weft viz uninstall | kubectl delete -f -

The mesh itself stays as it is. Figures that Prometheus keeps on a volume are deleted with it.")]
pub(crate) struct UninstallArgs {
    /// The format of the manifests
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(super) async fn install(global: &Global, options: &VizOptions, args: &InstallArgs) -> Result<()> {
    let mut values = json!({ "installNamespace": true, "linkerdNamespace": global.control_plane_namespace });
    if !args.ignore_cluster {
        let client = connect(global).await?;
        values = lay_over(values, &shared(&client, global).await?);
        let installed = namespaces(&client).await?;
        if args.upgrade && !installed.contains(&options.viz_namespace) {
            bail!(
                "weft-viz is not installed in the namespace {}{}; leave out --upgrade to install it",
                options.viz_namespace,
                match installed.first() {
                    Some(other) => format!(", but in {other} (choose it with --viz-namespace)"),
                    None => String::new(),
                }
            );
        }
        if let (false, Some(at)) = (args.upgrade, installed.first()) {
            bail!(
                "weft-viz is installed in the namespace {at} already. To change it, give all values again:\n\n  \
                 weft viz{} install --upgrade | kubectl apply -f -\n\n\
                 To install it anew, remove it first: weft viz uninstall | kubectl delete -f -",
                if at == "weft-viz" { String::new() } else { format!(" --viz-namespace {at}") }
            );
        }
    }
    if args.ha {
        values = lay_over(values, &VIZ.high_availability()?);
    }
    values = args.values.files(values)?;
    if let Some(registry) = &args.registry {
        values = lay_over(values, &json!({ "imageRegistry": registry }));
    }
    values = args.values.assign(values)?;
    let release = Release { namespace: options.viz_namespace.clone(), upgrade: args.upgrade };
    print_documents(&VIZ.render(&values, &release)?, args.output)
}

/// The control plane's values that weft-viz has, too.
async fn shared(client: &Client, global: &Global) -> Result<Value> {
    let namespace = &global.control_plane_namespace;
    let config = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(CONFIG).await;
    let Some(config) = config.map_err(|error| explain(error, "see whether weft is installed"))? else {
        bail!(
            "weft's control plane must be installed first: there is no ConfigMap {CONFIG} in the namespace {namespace}. \
             Run\n\n  weft install --crds | kubectl apply -f -\n  weft install | kubectl apply -f -\n\n\
             If it is in another namespace, choose that with -L"
        );
    };
    let values = config.data.as_ref().and_then(|data| data.get("values"));
    let values = parse_values(values.map_or("", String::as_str))?;
    let shared = SHARED.iter().filter_map(|name| Some(((*name).to_owned(), values.get(*name)?.clone())));
    Ok(Value::Object(shared.filter(|(_, value)| !value.is_null()).collect()))
}

/// The namespaces that say that weft-viz is in them.
async fn namespaces(client: &Client) -> Result<Vec<String>> {
    let query = ListParams::default().labels(SELECTOR);
    let found = Api::<Namespace>::all(client.clone()).list_metadata(&query).await;
    let found = found.map_err(|error| explain(error, "see whether weft-viz is installed"))?;
    Ok(found.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
}

pub(super) async fn uninstall(global: &Global, options: &VizOptions, args: &UninstallArgs) -> Result<()> {
    let client = connect(global).await?;
    let mut found = Vec::new();
    for kind in MORE_KINDS.iter().chain(KINDS) {
        found.extend(labelled(&client, kind, SELECTOR).await?);
    }
    if found.is_empty() {
        bail!(
            "weft-viz is not installed: no object has the label {SELECTOR}, in the namespace {} or elsewhere",
            options.viz_namespace
        );
    }
    print_objects(&found, args.output)
}
