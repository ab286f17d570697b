//! The trust anchors and the issuer of the mesh, as the cluster has them.

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use crate::{
    certificates::{Certificate, key_belongs_to, read},
    check::cluster::Cluster,
    kubernetes::{ISSUER, TRUST_ROOTS},
};

/// The mesh's authority, as its ConfigMap and Secret have it.
pub(super) struct Certificates {
    pub(super) anchors: Vec<Certificate>,
    /// The issuer's own first, then those between it and the anchors.
    pub(super) issuer: Vec<Certificate>,
}

impl Certificates {
    pub(super) async fn read(cluster: &Cluster) -> Result<Self> {
        let roots = anchors_pem(cluster).await?;
        let anchors =
            read(&roots).with_context(|| format!("ca-bundle.crt in the ConfigMap \"{TRUST_ROOTS}\""))?;
        let secret = cluster.get::<Secret>(ISSUER).await?;
        let secret = secret.ok_or_else(|| anyhow!("the Secret \"{ISSUER}\" does not exist"))?;
        let data = secret.data.unwrap_or_default();
        // Both schemes, as weft-control reads them.
        let (certificate, key) = match secret.type_.as_deref() {
            Some("kubernetes.io/tls") => ("tls.crt", "tls.key"),
            _ => ("crt.pem", "key.pem"),
        };
        let pem = |name: &str| -> Result<String> {
            let bytes = data.get(name).ok_or_else(|| anyhow!("the Secret \"{ISSUER}\" has no {name}"))?;
            String::from_utf8(bytes.0.clone()).with_context(|| format!("{name} in the Secret \"{ISSUER}\""))
        };
        let issuer =
            read(&pem(certificate)?).with_context(|| format!("{certificate} in the Secret \"{ISSUER}\""))?;
        if !issuer[0].is_authority() {
            bail!("{certificate} in the Secret \"{ISSUER}\" may not sign other certificates: it is no CA");
        }
        if !key_belongs_to(&pem(key)?, &issuer[0])
            .with_context(|| format!("{key} in the Secret \"{ISSUER}\""))?
        {
            bail!("{key} in the Secret \"{ISSUER}\" does not belong to {certificate}");
        }
        Ok(Self { anchors, issuer })
    }

    pub(super) fn chained(&self) -> Result<()> {
        let mut at = self.issuer.iter();
        while let Some(certificate) = at.next() {
            if certificate.is_issued_by_one_of(&self.anchors) {
                return Ok(());
            }
            if !certificate.is_issued_by_one_of(at.as_slice()) {
                bail!(
                    "{} is issued by {}, which is none of the trust anchors ({})",
                    certificate.name(),
                    certificate.issuer(),
                    self.anchors.iter().map(Certificate::name).collect::<Vec<_>>().join(", ")
                );
            }
        }
        Ok(())
    }
}

/// The trust anchors as PEM.
pub(super) async fn anchors_pem(cluster: &Cluster) -> Result<String> {
    let roots = cluster.get::<ConfigMap>(TRUST_ROOTS).await?;
    let roots = roots.ok_or_else(|| anyhow!("the ConfigMap \"{TRUST_ROOTS}\" does not exist"))?;
    let roots = roots.data.unwrap_or_default().remove("ca-bundle.crt");
    roots.ok_or_else(|| anyhow!("the ConfigMap \"{TRUST_ROOTS}\" has no ca-bundle.crt"))
}

/// The serial number and the name: issuers of one mesh have the same name.
pub(super) fn label(certificate: &Certificate) -> String {
    format!("{} {}", certificate.serial(), certificate.name())
}
