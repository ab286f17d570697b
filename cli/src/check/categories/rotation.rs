//! How far a rotation of the mesh's certificates has come: whether its next step is safe.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::authority::{Certificates, label};
use crate::{
    certificates::{Certificate, read},
    check::{
        cluster::{Cluster, none},
        model::Check,
    },
};

/// Both wait, because proxies do by themselves what is missing.
pub(super) fn checks() -> [Check; 2] {
    [
        Check::warning(
            "data plane proxies have the current trust anchors",
            "weft-identity-data-plane-trust-anchors",
            |c| Box::pin(anchors(c)),
        )
        .patient(),
        Check::warning(
            "data plane certificates are of the current issuer",
            "weft-identity-data-plane-issuer",
            |c| Box::pin(issuers(c)),
        )
        .patient(),
    ]
}

/// Every proxy has the anchors of the ConfigMap. Before that, no issuer may be used that one of them needs.
async fn anchors(cluster: &Cluster) -> Result<()> {
    let wanted = Certificates::read(cluster).await?.anchors;
    let mut problems = Vec::new();
    for (node, page) in cluster.certificates().await? {
        match page.as_ref().map_err(|error| anyhow!("{error}")).and_then(anchors_of) {
            Err(error) => problems.push(format!("{node}: {error:#}")),
            Ok(held) => {
                let missing = labels(wanted.iter().filter(|anchor| !held.contains(anchor)));
                let others = labels(held.iter().filter(|anchor| !wanted.contains(anchor)));
                if !missing.is_empty() {
                    problems.push(format!("{node}: its proxy does not have {missing} yet"));
                }
                if !others.is_empty() {
                    problems.push(format!("{node}: its proxy still has {others}"));
                }
            }
        }
    }
    none(
        &problems,
        "the trust anchors have changed, and not every proxy has them; do not change the issuer yet:",
    )
}

/// No certificate is of an earlier issuer. Before that, the anchor which that one needs may not be removed.
async fn issuers(cluster: &Cluster) -> Result<()> {
    let issuer = Certificates::read(cluster).await?.issuer;
    let issuer = issuer.first().context("the Secret has no issuer")?;
    let mut problems = Vec::new();
    for (node, page) in cluster.certificates().await? {
        let workloads = page.as_ref().map_err(|error| anyhow!("{error}")).and_then(|page| {
            page["workloads"].as_object().context("the page /certificates.json has no `workloads`")
        });
        let workloads = match workloads {
            Ok(workloads) => workloads,
            Err(error) => {
                problems.push(format!("{node}: {error:#}"));
                continue;
            }
        };
        for (pod, workload) in workloads {
            let namespace = pod.split('/').next();
            if cluster.data_plane().is_some_and(|only| namespace != Some(only)) {
                continue;
            }
            match chain_of(workload) {
                Err(error) => problems.push(format!("{pod}: {error:#}")),
                // It has none, which another check says; or an anchor has signed it, and there is only the root.
                Ok(chain) => problems.extend(
                    chain
                        .get(1)
                        .filter(|signer| *signer != issuer)
                        .map(|signer| format!("{pod}: its certificate is signed by {}", label(signer))),
                ),
            }
        }
    }
    let heading = format!(
        "the issuer is {}, and not every pod has a certificate of it; do not remove a trust anchor yet:",
        label(issuer)
    );
    none(&problems, &heading)
}

fn anchors_of(page: &Value) -> Result<Vec<Certificate>> {
    let anchors = page["trust_anchors"].as_array();
    let anchors =
        anchors.context("its proxy does not show its trust anchors: it is of an earlier version")?;
    read(&joined(anchors))
}

/// A workload's certificate and those that follow it.
fn chain_of(workload: &Value) -> Result<Vec<Certificate>> {
    let chain = workload["certificates"].as_array().map(|chain| joined(chain)).unwrap_or_default();
    if chain.is_empty() { Ok(Vec::new()) } else { read(&chain) }
}

/// PEM texts as one. They need not end with the end of a line.
fn joined(certificates: &[Value]) -> String {
    certificates.iter().filter_map(Value::as_str).flat_map(|pem| [pem, "\n"]).collect()
}

fn labels<'a>(certificates: impl Iterator<Item = &'a Certificate>) -> String {
    certificates.map(label).collect::<Vec<_>>().join(", ")
}
