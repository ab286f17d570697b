//! What an installation needs of the cluster, and what it must not break.

use anyhow::{Result, bail};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, api::ListParams};
use serde_json::{Map, Value, json};

use super::flags::effective;
use crate::{
    chart::{CRDS, Release, value_at},
    kubernetes::{CONFIG, ISSUER, TRUST_ROOTS, explain},
};

const PART_OF: &str = "app.kubernetes.io/part-of";

/// Two control planes in one cluster would share their cluster-wide objects.
pub(super) async fn if_installed(client: &Client, namespace: &str) -> Result<()> {
    let query = ListParams::default().fields(&format!("metadata.name={CONFIG}"));
    let found = Api::<ConfigMap>::all(client.clone())
        .list(&query)
        .await
        .map_err(|error| explain(error, "see whether weft is installed already"))?;
    let Some(other) = found.items.first() else { return Ok(()) };
    let at = other.metadata.namespace.as_deref().unwrap_or_default();
    if at == namespace {
        bail!(
            "weft is installed in the namespace {at} already. To change it:\n\n  weft upgrade | kubectl apply -f -\n\n\
             To install it anew, remove it first: weft uninstall | kubectl delete -f -"
        );
    }
    bail!(
        "weft is installed in the namespace {at} already, and a cluster can have only one. To change it:\n\n  \
         weft -L {at} upgrade | kubectl apply -f -"
    );
}

pub(super) async fn without_crds(client: &Client) -> Result<()> {
    let problems = crd_problems(client).await?;
    if !problems.is_empty() {
        bail!(
            "the custom resource definitions must be installed first:\n{}\nRun\n\n  \
             weft install --crds | kubectl apply -f -",
            problems.iter().map(|one| format!("  {one}\n")).collect::<String>()
        );
    }
    Ok(())
}

/// Definitions of the same names that another mesh has made are not replaced: they may have kinds and versions that
/// its own programs need.
pub(super) async fn foreign_crds(client: &Client) -> Result<()> {
    let mut foreign = Vec::new();
    for (name, version) in needed_crds()? {
        let Some(found) = crd(client, &name).await? else { continue };
        if found.metadata.labels.as_ref().and_then(|all| all.get(PART_OF)).map(String::as_str) != Some("weft")
        {
            let fits = if serves(&found, &version) {
                format!("it serves {version}, which is what weft reads")
            } else {
                format!("it does not serve {version}, which weft reads")
            };
            foreign.push(format!("  {name}: {fits}\n"));
        }
    }
    if !foreign.is_empty() {
        bail!(
            "these custom resource definitions exist, and are not weft's:\n{}\nIf Linkerd runs in this cluster, keep \
             them where they serve what weft reads, update Linkerd's where they do not, and continue with\n\n  \
             weft install | kubectl apply -f -\n\nTo replace them anyway: weft install --crds --ignore-cluster",
            foreign.concat()
        );
    }
    Ok(())
}

/// Which custom resource definitions are missing, or do not serve the version that weft reads.
pub(crate) async fn crd_problems(client: &Client) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (name, version) in needed_crds()? {
        match crd(client, &name).await? {
            None => problems.push(name),
            Some(found) if !serves(&found, &version) => {
                problems
                    .push(format!("{name} (it exists, but without the version {version} that weft reads)"));
            }
            Some(_) => {}
        }
    }
    Ok(problems)
}

async fn crd(client: &Client, name: &str) -> Result<Option<CustomResourceDefinition>> {
    let found = Api::<CustomResourceDefinition>::all(client.clone()).get_opt(name).await;
    found.map_err(|error| explain(error, "see which custom resource definitions exist"))
}

pub(crate) fn serves(crd: &CustomResourceDefinition, version: &str) -> bool {
    crd.spec.versions.iter().any(|found| found.name == version && found.served)
}

/// The custom resource definitions that weft needs: their names, and the version of each that weft reads, which is the
/// one that its own definitions store.
pub(crate) fn needed_crds() -> Result<Vec<(String, String)>> {
    let release = Release { namespace: "weft".to_owned(), upgrade: false };
    let documents = CRDS.render(&Value::Object(Map::new()), &release)?;
    let crds = documents.iter().filter(|document| document.kind() == "CustomResourceDefinition");
    let needed = crds.filter_map(|document| {
        let versions = document.object["spec"]["versions"].as_array()?;
        let stored = versions.iter().find(|version| version["storage"] == json!(true))?;
        Some((document.object["metadata"]["name"].as_str()?.to_owned(), stored["name"].as_str()?.to_owned()))
    });
    Ok(needed.collect())
}

/// What something else makes must be there, or the control plane's pods would wait for it.
pub(super) async fn without_external_identity(
    client: &Client,
    namespace: &str,
    values: &Value,
) -> Result<()> {
    let values = effective(values)?;
    let doing = "see whether the mesh's certificates are there";
    if value_at(&values, "identity.externalCA") == Some(&json!(true)) {
        let roots =
            Api::<ConfigMap>::namespaced(client.clone(), namespace).get_metadata_opt(TRUST_ROOTS).await;
        if roots.map_err(|error| explain(error, doing))?.is_none() {
            bail!(
                "--identity-external-ca: the ConfigMap {TRUST_ROOTS} does not exist in the namespace {namespace}; make \
                 it first, with the trust anchors as ca-bundle.crt"
            );
        }
    }
    if value_at(&values, "identity.issuer.scheme") == Some(&json!("kubernetes.io/tls")) {
        let issuer = Api::<Secret>::namespaced(client.clone(), namespace).get_metadata_opt(ISSUER).await;
        if issuer.map_err(|error| explain(error, doing))?.is_none() {
            bail!(
                "--identity-external-issuer: the Secret {ISSUER} does not exist in the namespace {namespace}; make it \
                 first, with tls.crt, tls.key and ca.crt"
            );
        }
    }
    Ok(())
}
