//! Whether the user may install weft, and the cluster is ready for it.

use std::time::SystemTime;

use anyhow::{Result, anyhow, bail};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    coordination::v1::Lease,
    core::v1::Namespace,
};
use kube::{Api, api::ListParams, client::Body};
use time::OffsetDateTime;

use crate::{
    check::{
        cluster::{Cluster, none},
        model::{Category, Check},
    },
    kubernetes::explain,
};

/// As much as clocks may differ by default: identity.issuer.clockSkewAllowance.
const ALLOWED_SKEW: i64 = 20;

pub(super) fn category() -> Category {
    Category {
        name: "pre-kubernetes-setup",
        checks: vec![
            Check::error("control plane namespace does not already exist", "pre-ns", |c| {
                Box::pin(namespace(c))
            }),
            Check::error("can create non-namespaced resources", "pre-k8s-cluster-k8s", |c| {
                Box::pin(cluster_wide(c))
            }),
            Check::error("can create ServiceAccounts", "pre-k8s", |c| {
                Box::pin(can(c, "create", "", "serviceaccounts"))
            }),
            Check::error("can create Services", "pre-k8s", |c| Box::pin(can(c, "create", "", "services"))),
            Check::error("can create Deployments", "pre-k8s", |c| {
                Box::pin(can(c, "create", "apps", "deployments"))
            }),
            Check::error("can create DaemonSets", "pre-k8s", |c| {
                Box::pin(can(c, "create", "apps", "daemonsets"))
            }),
            Check::error("can create ConfigMaps", "pre-k8s", |c| {
                Box::pin(can(c, "create", "", "configmaps"))
            }),
            Check::error("can create Secrets", "pre-k8s", |c| Box::pin(can(c, "create", "", "secrets"))),
            Check::error("can read Secrets", "pre-k8s", |c| Box::pin(can(c, "get", "", "secrets"))),
            Check::warning("no clock skew detected", "pre-k8s-clock-skew", |c| Box::pin(clock_skew(c))),
        ],
    }
}

async fn namespace(cluster: &Cluster) -> Result<()> {
    let name = cluster.control_plane();
    if cluster.get_global::<Namespace>(name).await?.is_some() {
        bail!("The \"{name}\" namespace already exists");
    }
    Ok(())
}

async fn cluster_wide(cluster: &Cluster) -> Result<()> {
    for (group, resource) in [
        ("", "namespaces"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ] {
        can(cluster, "create", group, resource).await?;
    }
    Ok(())
}

async fn can(cluster: &Cluster, verb: &str, group: &str, resource: &str) -> Result<()> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(cluster.control_plane().to_owned()),
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api = Api::<SelfSubjectAccessReview>::all(cluster.client().await?.clone());
    let answer = api.create(&Default::default(), &review).await;
    let answer = answer.map_err(|error| explain(error, "ask the API server what you may do"))?;
    let status = answer
        .status
        .ok_or_else(|| anyhow!("the API server did not say whether you can {verb} {resource}"))?;
    if !status.allowed {
        let why = status.reason.filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
        bail!("not authorized to {verb} {resource}{}", why.unwrap_or_default());
    }
    Ok(())
}

/// Certificates are valid from when they are made: a clock that is behind refuses them. The nodes' clocks show in the
/// leases that the kubelets renew every ten seconds.
async fn clock_skew(cluster: &Cluster) -> Result<()> {
    let server = server_time(cluster).await?;
    let mut skewed = Vec::new();
    let here = (OffsetDateTime::from(SystemTime::now()) - server).whole_seconds();
    if here.abs() > ALLOWED_SKEW {
        skewed.push(format!("this machine: {}", describe(here)));
    }
    let api = Api::<Lease>::namespaced(cluster.client().await?.clone(), "kube-node-lease");
    let leases =
        api.list(&ListParams::default()).await.map_err(|error| explain(error, "list the nodes' leases"))?;
    if leases.items.is_empty() {
        bail!("the nodes' clocks cannot be compared: there are no leases in the namespace kube-node-lease");
    }
    for lease in leases {
        let spec = lease.spec.unwrap_or_default();
        let Some(renewed) = spec.renew_time.and_then(|time| seconds(&time.0)) else { continue };
        // Up to the lease's duration, a renewal may lie in the past; beyond it, the node is away.
        let duration = i64::from(spec.lease_duration_seconds.unwrap_or(40));
        let ahead = renewed - server.unix_timestamp();
        if ahead > ALLOWED_SKEW
            || (ahead < -duration && is_ready(cluster, lease.metadata.name.as_deref()).await?)
        {
            skewed.push(format!("node {}: {}", lease.metadata.name.unwrap_or_default(), describe(ahead)));
        }
    }
    none(&skewed, "clock skew detected; certificates may be refused as not valid yet:")
}

fn describe(ahead: i64) -> String {
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    format!("{} s {way} the API server's clock", ahead.abs())
}

async fn is_ready(cluster: &Cluster, node: Option<&str>) -> Result<bool> {
    let nodes = cluster.nodes().await?;
    Ok(nodes.iter().filter(|own| own.metadata.name.as_deref() == node).any(super::nodes::is_ready))
}

async fn server_time(cluster: &Cluster) -> Result<OffsetDateTime> {
    let doing = "ask the API server for its time";
    let request = http::Request::get("/version").body(Body::empty())?;
    let response = cluster.client().await?.send(request).await.map_err(|error| explain(error, doing))?;
    let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let date = date.ok_or_else(|| anyhow!("the API server's answer has no time"))?;
    // Sun, 06 Nov 1994 08:49:37 GMT
    let rfc2822 = date.replace("GMT", "+0000");
    Ok(OffsetDateTime::parse(&rfc2822, &time::format_description::well_known::Rfc2822)?)
}

fn seconds(time: &impl ToString) -> Option<i64> {
    OffsetDateTime::parse(&time.to_string(), &time::format_description::well_known::Rfc3339)
        .ok()
        .map(OffsetDateTime::unix_timestamp)
}
