//! The options about certificates, and the authority that an installation gets.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{flags::effective, set_flags::lay_over};
use crate::{
    certificates::{create, key_belongs_to, read},
    chart::value_at,
};

const ANCHORS: &str = "identityTrustAnchorsPEM";
const ISSUER: &str = "identity.issuer.tls.crtPEM";
const KEY: &str = "identity.issuer.tls.keyPEM";

/// Options about certificates.
#[derive(Debug, Default, Args)]
pub(super) struct IdentityFlags {
    /// The trust anchors: a file with one or several certificates as PEM
    #[arg(long, value_name = "FILE", help_heading = "Identity")]
    identity_trust_anchors_file: Option<PathBuf>,
    /// The certificate of the issuer, as PEM
    #[arg(long, value_name = "FILE", help_heading = "Identity")]
    identity_issuer_certificate_file: Option<PathBuf>,
    /// The private key of the issuer, as PEM
    #[arg(long, value_name = "FILE", help_heading = "Identity")]
    identity_issuer_key_file: Option<PathBuf>,
    /// The last part of every identity; otherwise the cluster's domain
    #[arg(long, value_name = "DOMAIN", help_heading = "Identity")]
    identity_trust_domain: Option<String>,
    /// How long the certificates of workloads are valid, as in 24h
    #[arg(long, value_name = "DURATION", help_heading = "Identity")]
    identity_issuance_lifetime: Option<String>,
    /// How far clocks may differ, as in 20s
    #[arg(long, value_name = "DURATION", help_heading = "Identity")]
    identity_clock_skew_allowance: Option<String>,
    /// Something else (cert-manager, for example) makes the Secret weft-identity-issuer
    #[arg(
        long,
        help_heading = "Identity",
        conflicts_with_all = ["identity_issuer_certificate_file", "identity_issuer_key_file"]
    )]
    identity_external_issuer: bool,
    /// Something else (trust-manager, for example) makes the ConfigMap weft-identity-trust-roots
    #[arg(long, help_heading = "Identity", conflicts_with = "identity_trust_anchors_file")]
    identity_external_ca: bool,
}

impl IdentityFlags {
    /// `values` with what the options say laid over them.
    pub(super) fn apply(&self, values: Value) -> Result<Value> {
        let file = |path: &Option<PathBuf>| -> Result<Option<Value>> {
            let Some(path) = path else { return Ok(None) };
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Some(Value::String(text)))
        };
        let text = |text: &Option<String>| text.clone().map(Value::String);
        let settings = [
            (ANCHORS, file(&self.identity_trust_anchors_file)?),
            (ISSUER, file(&self.identity_issuer_certificate_file)?),
            (KEY, file(&self.identity_issuer_key_file)?),
            ("identityTrustDomain", text(&self.identity_trust_domain)),
            ("identity.issuer.issuanceLifetime", text(&self.identity_issuance_lifetime)),
            ("identity.issuer.clockSkewAllowance", text(&self.identity_clock_skew_allowance)),
            ("identity.issuer.scheme", self.identity_external_issuer.then(|| json!("kubernetes.io/tls"))),
            ("identity.externalCA", self.identity_external_ca.then_some(json!(true))),
        ];
        let settings = settings.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Ok(settings.fold(values, |values, (name, value)| put(values, name, value)))
    }
}

/// `values` with an authority: the one that they name, or a new one if they name none.
pub(super) fn complete(mut values: Value, namespace: &str) -> Result<Value> {
    let all = effective(&values)?;
    let external_ca = value_at(&all, "identity.externalCA") == Some(&json!(true));
    let external_issuer = value_at(&all, "identity.issuer.scheme") == Some(&json!("kubernetes.io/tls"));
    let given = |name| text_at(&all, name);
    match (given(ANCHORS), given(ISSUER), given(KEY)) {
        (None, None, None) if !external_ca && !external_issuer => {
            let domain = text_at(&all, "identityTrustDomain").or_else(|| text_at(&all, "clusterDomain"));
            let authority = create(namespace, domain.unwrap_or("cluster.local"))?;
            for (name, pem) in
                [(ANCHORS, authority.anchors), (ISSUER, authority.issuer), (KEY, authority.key)]
            {
                values = put(values, name, Value::String(pem));
            }
        }
        (anchors, issuer, key) => {
            if anchors.is_none() && !external_ca {
                bail!(
                    "the trust anchors are missing; give them with --identity-trust-anchors-file, or say \
                     --identity-external-ca if something else makes the ConfigMap weft-identity-trust-roots"
                );
            }
            if (issuer.is_none() || key.is_none()) && !external_issuer {
                bail!(
                    "the issuer's certificate or key is missing; give both with --identity-issuer-certificate-file and \
                     --identity-issuer-key-file, or say --identity-external-issuer if something else makes the Secret \
                     weft-identity-issuer"
                );
            }
            check(anchors, issuer, key)?;
        }
    }
    Ok(values)
}

/// Fails if certificates that this issuer signs would not be trusted.
fn check(anchors: Option<&str>, issuer: Option<&str>, key: Option<&str>) -> Result<()> {
    let anchors = anchors.map(|pem| read(pem).context("the trust anchors")).transpose()?;
    let Some(issuer) = issuer else { return Ok(()) };
    let issuer = read(issuer).context("the issuer's certificate")?;
    if !issuer[0].is_authority() {
        bail!("the issuer's certificate ({}) may not sign other certificates: it is no CA", issuer[0].name());
    }
    if let Some(why) = issuer[0].unsupported_algorithm() {
        bail!("the issuer's certificate ({}) {why}", issuer[0].name());
    }
    if let Some(key) = key
        && !key_belongs_to(key, &issuer[0]).context("the issuer's key")?
    {
        bail!("the issuer's key does not belong to the issuer's certificate ({})", issuer[0].name());
    }
    if let Some(anchors) = anchors {
        // The file may have certificates between the issuer and the anchor.
        let top = issuer.last().unwrap_or(&issuer[0]);
        if !top.is_issued_by_one_of(&anchors) {
            bail!(
                "the issuer's certificate ({}) is signed by {}, which is none of the trust anchors",
                top.name(),
                top.issuer()
            );
        }
    }
    Ok(())
}

fn text_at<'a>(values: &'a Value, name: &str) -> Option<&'a str> {
    value_at(values, name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

fn put(values: Value, name: &str, value: Value) -> Value {
    let one = name
        .rsplit('.')
        .fold(value, |value, key| Value::Object([(key.to_owned(), value)].into_iter().collect()));
    lay_over(values, &one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(anchors: &str, issuer: &str, key: &str) -> Value {
        json!({"identityTrustAnchorsPEM": anchors, "identity": {"issuer": {"tls": {"crtPEM": issuer, "keyPEM": key}}}})
    }

    #[test]
    fn an_authority_is_made_if_none_is_given() {
        let made = complete(json!({"clusterDomain": "example.org"}), "mesh").unwrap();
        assert_eq!(read(text_at(&made, ANCHORS).unwrap()).unwrap()[0].name(), "root.mesh.example.org");
        assert_eq!(complete(made.clone(), "mesh").unwrap(), made, "one that is there is kept");
    }

    #[test]
    fn an_issuer_that_the_anchors_have_not_signed_is_refused() {
        let (a, b) = (create("weft", "x").unwrap(), create("weft", "x").unwrap());
        let error = complete(values(&a.anchors, &b.issuer, &b.key), "weft").unwrap_err().to_string();
        assert!(error.contains("none of the trust anchors"), "{error}");
        let error = complete(values(&a.anchors, &a.issuer, &b.key), "weft").unwrap_err().to_string();
        assert!(error.contains("does not belong to"), "{error}");
        let error = complete(values(&a.anchors, &a.issuer, ""), "weft").unwrap_err().to_string();
        assert!(error.contains("--identity-issuer-key-file"), "{error}");
        let error = complete(values("", &a.issuer, &a.key), "weft").unwrap_err().to_string();
        assert!(error.contains("--identity-trust-anchors-file"), "{error}");
    }
}
