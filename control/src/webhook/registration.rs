//! Tells the API server which certificates to trust when it connects to the webhook.
//!
//! The trust anchors of the mesh are the caBundle of the ValidatingWebhookConfiguration. Every replica writes them when
//! they differ. All write the same, so no replica has to lead.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::admissionregistration::v1::ValidatingWebhookConfiguration};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{identity::CertificateAuthority, metrics::Metrics};

const CONFIGURATION: &str = "weft-policy-validator-webhook-config";
/// How often the configuration is compared: somebody may have installed it again.
const INTERVAL: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Registration {
    api: Api<ValidatingWebhookConfiguration>,
    authority: Arc<CertificateAuthority>,
    metrics: Metrics,
}

impl Registration {
    pub(super) fn new(client: Client, authority: Arc<CertificateAuthority>, metrics: Metrics) -> Self {
        Self { api: Api::all(client), authority, metrics }
    }

    /// Keeps the configuration up to date until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut anchors = self.authority.subscribe();
        let mut last_error = None;
        loop {
            // A change from here on ends the wait below.
            anchors.borrow_and_update();
            let result = timeout(ANSWER_TIMEOUT, self.update()).await;
            let result = result.unwrap_or_else(|_| Err("the API server did not answer in time".into()));
            let pause = if result.is_ok() { INTERVAL } else { RETRY };
            let error = result.err();
            if let Some(error) = &error {
                self.metrics.webhook_error();
                if last_error.as_ref() != Some(error) {
                    tracing::warn!(
                        "cannot update the caBundle of ValidatingWebhookConfiguration {CONFIGURATION}: {error}; policies \
                         are stored unchecked or refused, as its failurePolicy says"
                    );
                }
            }
            last_error = error;
            tokio::select! {
                () = stop.cancelled() => return,
                changed = anchors.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.75..=1.25))) => {}
            }
        }
    }

    /// # Errors
    /// Why the configuration is not up to date.
    async fn update(&self) -> Result<(), String> {
        let bundle = ByteString(self.authority.anchors_pem().into_bytes());
        let configuration = self.api.get(CONFIGURATION).await.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 404 => {
                "it does not exist: install the chart weft-control-plane completely".to_owned()
            }
            error => error.to_string(),
        })?;
        let patch = patch(&configuration, &bundle);
        if patch.is_empty() {
            return Ok(());
        }
        let patch = serde_json::from_value(Value::Array(patch)).map_err(|error| error.to_string())?;
        let patch: Patch<()> = Patch::Json(patch);
        self.api
            .patch(CONFIGURATION, &PatchParams::default(), &patch)
            .await
            .map_err(|error| error.to_string())?;
        tracing::info!("updated the caBundle of ValidatingWebhookConfiguration {CONFIGURATION}");
        Ok(())
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registration(…)")
    }
}

/// The operations that set `bundle` where it is not set. They fail if the webhooks changed meanwhile.
fn patch(configuration: &ValidatingWebhookConfiguration, bundle: &ByteString) -> Vec<Value> {
    let webhooks = configuration.webhooks.iter().flatten().enumerate();
    webhooks
        .filter(|(_, webhook)| webhook.client_config.ca_bundle.as_ref() != Some(bundle))
        .flat_map(|(index, webhook)| {
            [
                json!({"op": "test", "path": format!("/webhooks/{index}/name"), "value": webhook.name}),
                json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle}),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::ValidatingWebhook;

    use super::*;

    fn configuration(bundles: &[Option<&str>]) -> ValidatingWebhookConfiguration {
        let webhook = |(index, bundle): (usize, &Option<&str>)| {
            let mut webhook = ValidatingWebhook { name: format!("w{index}"), ..ValidatingWebhook::default() };
            webhook.client_config.ca_bundle = bundle.map(|text| ByteString(text.as_bytes().to_vec()));
            webhook
        };
        let webhooks = bundles.iter().enumerate().map(webhook).collect();
        ValidatingWebhookConfiguration {
            webhooks: Some(webhooks),
            ..ValidatingWebhookConfiguration::default()
        }
    }

    #[test]
    fn only_webhooks_without_the_bundle_are_changed() {
        let bundle = ByteString(b"new".to_vec());
        let operations = patch(&configuration(&[Some("new"), Some("old"), None]), &bundle);
        let paths: Vec<_> = operations.iter().map(|operation| operation["path"].as_str().unwrap()).collect();
        let expected = [
            "/webhooks/1/name",
            "/webhooks/1/clientConfig/caBundle",
            "/webhooks/2/name",
            "/webhooks/2/clientConfig/caBundle",
        ];
        assert_eq!(paths, expected);
        assert_eq!(operations[1]["value"], "bmV3");
    }

    #[test]
    fn nothing_is_written_if_all_webhooks_have_the_bundle() {
        let bundle = ByteString(b"new".to_vec());
        assert_eq!(patch(&configuration(&[Some("new")]), &bundle), Vec::<Value>::new());
        assert_eq!(patch(&ValidatingWebhookConfiguration::default(), &bundle), Vec::<Value>::new());
    }
}
