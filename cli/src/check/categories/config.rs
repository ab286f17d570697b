//! Whether the objects of the installation exist.

use anyhow::{Context, Result, anyhow};
use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingWebhookConfiguration,
        core::v1::ServiceAccount,
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde_json::{Value, json};

use crate::{
    chart::{CONTROL_PLANE, Document, Release},
    check::{
        cluster::{Cluster, none},
        model::{Category, Check},
    },
    install::{lay_over, needed_crds, serves},
};

pub(super) fn category() -> Category {
    Category {
        name: "weft-config",
        checks: vec![
            Check::fatal("control plane ClusterRoles exist", "weft-existence-cr", |c| {
                Box::pin(async {
                    let names = expected(c, "ClusterRole").await?;
                    global::<ClusterRole>(c, names).await
                })
            }),
            Check::fatal("control plane ClusterRoleBindings exist", "weft-existence-crb", |c| {
                Box::pin(async {
                    let names = expected(c, "ClusterRoleBinding").await?;
                    global::<ClusterRoleBinding>(c, names).await
                })
            }),
            Check::fatal("control plane ServiceAccounts exist", "weft-existence-sa", |c| {
                Box::pin(accounts(c))
            }),
            Check::fatal("control plane CustomResourceDefinitions exist", "weft-existence-crd", |c| {
                Box::pin(crds(c))
            }),
            Check::fatal("control plane ValidatingWebhookConfigurations exist", "weft-existence-vwc", |c| {
                Box::pin(async {
                    let names = expected(c, "ValidatingWebhookConfiguration").await?;
                    global::<ValidatingWebhookConfiguration>(c, names).await
                })
            }),
        ],
    }
}

pub(super) fn crd_category() -> Category {
    Category {
        name: "weft-crd",
        checks: vec![
            Check::fatal("control plane CustomResourceDefinitions exist", "weft-existence-crd", |c| {
                Box::pin(crds(c))
            })
            .patient(),
        ],
    }
}

async fn accounts(cluster: &Cluster) -> Result<()> {
    let mut missing = Vec::new();
    for name in expected(cluster, "ServiceAccount").await? {
        if cluster.get::<ServiceAccount>(&name).await?.is_none() {
            missing.push(name);
        }
    }
    none(&missing, "missing ServiceAccounts:")
}

async fn global<K>(cluster: &Cluster, names: Vec<String>) -> Result<()>
where
    K: kube::Resource<Scope = kube::core::ClusterResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let mut missing = Vec::new();
    for name in names {
        if cluster.get_global::<K>(&name).await?.is_none() {
            missing.push(name);
        }
    }
    none(&missing, &format!("missing {}s:", K::kind(&())))
}

/// They exist, and the API server serves them in the version that weft reads.
async fn crds(cluster: &Cluster) -> Result<()> {
    let mut missing = Vec::new();
    for (name, version) in needed_crds()? {
        let Some(crd) = cluster.get_global::<CustomResourceDefinition>(&name).await? else {
            missing.push(name);
            continue;
        };
        if !serves(&crd, &version) {
            missing.push(format!("{name} (it exists, but without the version {version} that weft reads)"));
            continue;
        }
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        if !conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
        {
            missing.push(format!("{name} (it exists, but the API server does not serve it yet)"));
        }
    }
    none(&missing, "missing CustomResourceDefinitions (run `weft install --crds | kubectl apply -f -`):")
}

/// The names of the objects of a kind that the chart has for the installation's values.
async fn expected(cluster: &Cluster, kind: &str) -> Result<Vec<String>> {
    let values = lay_over(cluster.values().await?, &stand_ins());
    let release = Release { namespace: cluster.control_plane().to_owned(), upgrade: true };
    let documents = CONTROL_PLANE
        .render(&values, &release)
        .context("the installation's values do not fit this version")?;
    let name = |document: &Document| document.object["metadata"]["name"].as_str().map(str::to_owned);
    let names: Vec<_> =
        documents.iter().filter(|document| document.kind() == kind).filter_map(name).collect();
    if names.is_empty() {
        return Err(anyhow!("this version of weft has no {kind}: nothing can be checked"));
    }
    Ok(names)
}

/// The values have no private key, and no certificate if something else makes them; names do not depend on them.
fn stand_ins() -> Value {
    json!({ "identityTrustAnchorsPEM": "-", "identity": { "issuer": { "tls": { "crtPEM": "-", "keyPEM": "-" } } } })
}
