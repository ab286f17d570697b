//! Whether the API server trusts the webhook that checks policies.

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{authority::anchors_pem, webhook_tls::Verifier};
use crate::{
    certificates::read,
    check::{
        cluster::{Cluster, is_ready},
        model::{Category, Check},
    },
    kubernetes::{forward, names},
};

const CONFIGURATION: &str = "weft-policy-validator-webhook-config";
const PORT: u16 = 9443;

pub(super) fn category() -> Category {
    Category {
        name: "weft-webhooks-and-apisvc-tls",
        checks: vec![
            Check::error(
                "policy-validator webhook is trusted by the API server",
                "weft-policy-validator-webhook-ca-bundle",
                |c| Box::pin(trusted(c)),
            )
            .patient(),
            Check::error(
                "policy-validator webhook has valid cert",
                "weft-policy-validator-webhook-cert-valid",
                |c| Box::pin(certificate(c)),
            ),
        ],
    }
}

/// The configuration has the mesh's trust anchors, which weft-control writes there.
async fn trusted(cluster: &Cluster) -> Result<()> {
    let found = cluster.get_global::<ValidatingWebhookConfiguration>(CONFIGURATION).await?;
    let found = found
        .ok_or_else(|| anyhow!("the ValidatingWebhookConfiguration \"{CONFIGURATION}\" does not exist"))?;
    let anchors = ders(&anchors_pem(cluster).await?)?;
    for webhook in found.webhooks.unwrap_or_default() {
        let Some(bundle) = webhook.client_config.ca_bundle else {
            bail!("the webhook {} has no caBundle; weft-control writes it, so look at its log", webhook.name);
        };
        let text = String::from_utf8(bundle.0).context("the caBundle is no text")?;
        read(&text).with_context(|| format!("the caBundle of the webhook {}", webhook.name))?;
        if ders(&text)? != anchors {
            bail!(
                "the caBundle of the webhook {} is not the mesh's trust anchors; weft-control writes it, so look at its \
                 log",
                webhook.name
            );
        }
    }
    Ok(())
}

/// Every replica shows a certificate that the API server will accept.
async fn certificate(cluster: &Cluster) -> Result<()> {
    let verifier = Verifier::new(ders(&anchors_pem(cluster).await?)?, cluster.control_plane())?;
    let client = cluster.client().await?;
    for pod in cluster.control_plane_pods("control").await?.into_iter().filter(|pod| is_ready(pod)) {
        let (namespace, name) = names(pod)?;
        let stream = forward(client, namespace, name, PORT).await?;
        verifier.verify(name, stream).await?;
    }
    Ok(())
}

fn ders(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let mut all: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow!("{error}"))?;
    all.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
    Ok(all)
}
