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
    let missing = missing_crds(client).await?;
    if !missing.is_empty() {
        bail!(
            "the custom resource definitions must be installed first: {} {} missing. Run\n\n  \
             weft install --crds | kubectl apply -f -",
            missing.join(", "),
            if missing.len() == 1 { "is" } else { "are" }
        );
    }
    Ok(())
}

/// The names of the custom resource definitions that the cluster does not have.
pub(crate) async fn missing_crds(client: &Client) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for name in crd_names()? {
        let found = Api::<CustomResourceDefinition>::all(client.clone())
            .get_metadata_opt(&name)
            .await
            .map_err(|error| explain(error, "see which custom resource definitions exist"))?;
        if found.is_none() {
            missing.push(name);
        }
    }
    Ok(missing)
}

/// The names of the custom resource definitions that weft needs.
pub(crate) fn crd_names() -> Result<Vec<String>> {
    let release = Release { namespace: "weft".to_owned(), upgrade: false };
    let documents = CRDS.render(&Value::Object(Map::new()), &release)?;
    let crds = documents.iter().filter(|document| document.kind() == "CustomResourceDefinition");
    Ok(crds.filter_map(|document| document.object["metadata"]["name"].as_str().map(str::to_owned)).collect())
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
