//! Whether the certificates of the mesh are good.

use std::time::SystemTime;

use anyhow::Result;
use time::{Duration, OffsetDateTime};

use super::authority::{Certificates, label};
use crate::{
    certificates::{Certificate, format_time},
    check::{
        cluster::{Cluster, full_name, none},
        model::{Category, Check},
        owners::Owners,
    },
};

const SOON: Duration = Duration::days(60);

pub(super) fn category() -> Category {
    Category {
        name: "weft-identity",
        checks: vec![
            Check::fatal("certificate config is valid", "weft-identity-cert-config-valid", |c| {
                Box::pin(async { Certificates::read(c).await.map(|_| ()) })
            }),
            Check::fatal(
                "trust anchors are using supported crypto algorithm",
                "weft-identity-trustAnchors-use-supported-crypto",
                |c| Box::pin(async { algorithms(&Certificates::read(c).await?.anchors) }),
            ),
            Check::fatal(
                "trust anchors are within their validity period",
                "weft-identity-trustAnchors-are-time-valid",
                |c| Box::pin(async { valid(&Certificates::read(c).await?.anchors) }),
            ),
            Check::warning(
                "trust anchors are valid for at least 60 days",
                "weft-identity-trustAnchors-not-expiring-soon",
                |c| Box::pin(async { lasting(&Certificates::read(c).await?.anchors) }),
            ),
            Check::fatal(
                "issuer cert is using supported crypto algorithm",
                "weft-identity-issuer-cert-uses-supported-crypto",
                |c| Box::pin(async { algorithms(&Certificates::read(c).await?.issuer[..1]) }),
            ),
            Check::fatal(
                "issuer cert is within its validity period",
                "weft-identity-issuer-cert-is-time-valid",
                |c| Box::pin(async { valid(&Certificates::read(c).await?.issuer) }),
            ),
            Check::warning(
                "issuer cert is valid for at least 60 days",
                "weft-identity-issuer-cert-not-expiring-soon",
                |c| Box::pin(async { lasting(&Certificates::read(c).await?.issuer) }),
            ),
            Check::error(
                "issuer cert is issued by the trust anchor",
                "weft-identity-issuer-cert-issued-by-trust-anchor",
                |c| Box::pin(async { Certificates::read(c).await?.chained() }),
            ),
        ],
    }
}

pub(super) fn data_plane_category() -> Category {
    let mut checks = vec![Check::warning(
        "data plane proxies have valid certificates",
        "weft-identity-data-plane-proxies-certs-valid",
        |c| Box::pin(workloads(c)),
    )];
    checks.extend(super::rotation::checks());
    Category { name: "weft-identity-data-plane", checks }
}

fn algorithms(certificates: &[Certificate]) -> Result<()> {
    let problems: Vec<_> = certificates
        .iter()
        .filter_map(|certificate| {
            Some(format!("{} {}", label(certificate), certificate.unsupported_algorithm()?))
        })
        .collect();
    none(&problems, "Invalid certificates:")
}

fn valid(certificates: &[Certificate]) -> Result<()> {
    let now = OffsetDateTime::from(SystemTime::now());
    let problem = |certificate: &Certificate| {
        if certificate.not_before() > now {
            return Some(format!(
                "{} not valid before: {}",
                label(certificate),
                format_time(certificate.not_before())
            ));
        }
        (certificate.not_after() < now).then(|| {
            format!(
                "{} not valid anymore. Expired on {}",
                label(certificate),
                format_time(certificate.not_after())
            )
        })
    };
    let problems: Vec<_> = certificates.iter().filter_map(problem).collect();
    none(&problems, "Invalid certificates:")
}

fn lasting(certificates: &[Certificate]) -> Result<()> {
    let soon = OffsetDateTime::from(SystemTime::now()) + SOON;
    let problem = |certificate: &Certificate| {
        (certificate.not_after() < soon).then(|| {
            format!("{} will expire on {}", label(certificate), format_time(certificate.not_after()))
        })
    };
    let problems: Vec<_> = certificates.iter().filter_map(problem).collect();
    none(&problems, "Certificates that expire soon:")
}

/// The certificates that the node proxies have for the pods that they serve.
async fn workloads(cluster: &Cluster) -> Result<()> {
    let owners = Owners::read(cluster).await?;
    let values = cluster.values().await?;
    let text = |name: &str| values[name].as_str().filter(|text| !text.is_empty());
    let domain = text("identityTrustDomain").or_else(|| text("clusterDomain")).unwrap_or("cluster.local");
    let now = OffsetDateTime::from(SystemTime::now()).unix_timestamp();
    let proxies = cluster.proxies().await?;
    let mut problems = Vec::new();
    for pod in super::pods::running(cluster, &owners).await? {
        let spec = pod.spec.clone().unwrap_or_default();
        let name = full_name(&pod.metadata);
        let Some(proxy) = spec.node_name.as_ref().and_then(|node| proxies.get(node)) else {
            problems.push(format!("{name}: there is no ready proxy on its node"));
            continue;
        };
        let account = spec.service_account_name.as_deref().unwrap_or("default");
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let identity =
            format!("{account}.{namespace}.serviceaccount.identity.{}.{domain}", cluster.control_plane());
        match proxy.config() {
            Err(error) => problems.push(format!("{name}: {error:#}")),
            // It cannot be in the mesh; another check says so.
            Ok(page) if super::pods::kernel_of_its_own(&page["workloads"][&name]).is_some() => {}
            Ok(page) => match page["certificates"]
                .get(&identity)
                .map(|certificate| certificate["expires"].as_i64())
            {
                Some(Some(expires)) if expires > now => {}
                Some(Some(_)) => problems.push(format!("{name}: the certificate of {identity} has expired")),
                _ => problems.push(format!("{name}: the proxy has no certificate of {identity}")),
            },
        }
    }
    none(&problems, "Some data plane proxies have no valid certificate:")
}
