//! The values of an installation, as it keeps them for upgrades.

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

use super::set_flags::lay_over;
use crate::{
    chart::{parse_values, take, to_yaml},
    kubernetes::{CONFIG, ISSUER},
};

const OVERRIDES: &str = "installOverrides";

/// These overrides, with a copy of them (without the private key) for the next upgrade.
pub(super) fn with_overrides(overrides: &Value) -> Value {
    let mut kept = overrides.clone();
    take(&mut kept, "identity.issuer.tls.keyPEM");
    take(&mut kept, OVERRIDES);
    lay_over(overrides.clone(), &json!({ OVERRIDES: to_yaml(&kept) }))
}

/// The overrides of an installation: those that it was given, and the issuer from its Secret.
pub(super) fn overrides(config: &ConfigMap, issuer: Option<&Secret>) -> Result<Value> {
    let data = config.data.as_ref();
    // An installation by Helm has only all values.
    let text =
        data.and_then(|data| data.get("overrides").or_else(|| data.get("values"))).ok_or_else(|| {
            anyhow!(
                "the ConfigMap {CONFIG} has neither overrides nor values; give them with -f, or install anew"
            )
        })?;
    let values = parse_values(text).with_context(|| format!("the values in the ConfigMap {CONFIG}"))?;
    if values["identity"]["issuer"]["scheme"] == json!("kubernetes.io/tls") {
        return Ok(values);
    }
    let issuer = issuer.ok_or_else(|| {
        anyhow!(
            "the Secret {ISSUER} does not exist, so the issuer cannot be kept; restore it, or give an issuer with \
             --identity-issuer-certificate-file and --identity-issuer-key-file"
        )
    })?;
    let pem = |name: &str| -> Result<String> {
        let data = issuer.data.as_ref().and_then(|data| data.get(name)).map(|bytes| bytes.0.clone());
        let text = issuer.string_data.as_ref().and_then(|data| data.get(name)).cloned();
        match data
            .map(String::from_utf8)
            .transpose()
            .with_context(|| format!("{name} in the Secret {ISSUER}"))?
            .or(text)
        {
            Some(pem) => Ok(pem),
            None => bail!("the Secret {ISSUER} has no {name}"),
        }
    };
    let tls = json!({ "crtPEM": pem("crt.pem")?, "keyPEM": pem("key.pem")? });
    Ok(lay_over(values, &json!({ "identity": { "issuer": { "tls": tls } } })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_key_is_not_kept_with_the_values() {
        let given = json!({"identity": {"issuer": {"tls": {"crtPEM": "C", "keyPEM": "SECRET"}}}, "controllerReplicas": 2});
        let values = with_overrides(&given);
        let kept = values[OVERRIDES].as_str().unwrap();
        assert!(!kept.contains("SECRET") && kept.contains("controllerReplicas: 2"), "{kept}");
    }
}
