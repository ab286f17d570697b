//! Copies the mesh's trust anchors from their ConfigMap, which is in the control plane's namespace, to a file.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const NAME: &str = "weft-identity-trust-roots";
const KEY: &str = "ca-bundle.crt";
const INTERVAL: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the file up to date until `stop`.
pub(super) async fn copy(client: Client, namespace: String, file: PathBuf, stop: CancellationToken) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let (mut written, mut last_error) = (String::new(), String::new());
    loop {
        let copy = async {
            let map = timeout(ANSWER_TIMEOUT, api.get(NAME))
                .await
                .map_err(|_| "the API server does not answer".to_owned())?
                .map_err(|error| error.to_string())?;
            let anchors = map.data.and_then(|mut data| data.remove(KEY)).unwrap_or_default();
            if anchors.is_empty() {
                return Err(format!("it has no {KEY}"));
            }
            if anchors != written {
                let draft = file.with_extension("new");
                let write = async {
                    tokio::fs::write(&draft, &anchors).await?;
                    tokio::fs::rename(&draft, &file).await
                };
                write.await.map_err(|error| format!("cannot write {}: {error}", file.display()))?;
                written = anchors;
            }
            Ok(())
        };
        let error = copy.await.err().unwrap_or_default();
        if !error.is_empty() && error != last_error {
            tracing::warn!("cannot copy the trust anchors of ConfigMap {namespace}/{NAME}: {error}");
        }
        let pause = if error.is_empty() { INTERVAL } else { RETRY };
        last_error = error;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
