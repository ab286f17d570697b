//! Copies the trust anchors of the mesh to a file: their ConfigMap is in the control plane's namespace, which no volume
//! of this pod can be made of.

use std::{fs, io, path::Path, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) const NAME: &str = "weft-identity-trust-roots";
const KEY: &str = "ca-bundle.crt";
/// A rotation keeps the old anchors for much longer.
const INTERVAL: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Copies them to `file`, again and again until `stop`. A file that something else provides is left alone.
pub(super) async fn follow(client: Client, namespace: String, file: &Path, stop: CancellationToken) {
    if file.exists() && !is_own(file) {
        return;
    }
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mut last_error = String::new();
    loop {
        let error = copy(&api, file).await.err().unwrap_or_default();
        if !error.is_empty() && error != last_error {
            tracing::warn!("cannot read the trust anchors in ConfigMap {namespace}/{NAME}: {error}");
        }
        let pause = if error.is_empty() { INTERVAL } else { RETRY };
        last_error = error;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn copy(api: &Api<ConfigMap>, file: &Path) -> Result<(), String> {
    let answer = timeout(ANSWER_TIMEOUT, api.get(NAME)).await;
    let map = answer
        .map_err(|_| "the API server does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    let anchors = map.data.unwrap_or_default().remove(KEY).filter(|text| !text.is_empty());
    let anchors = anchors.ok_or_else(|| format!("it has no {KEY}"))?;
    write(file, &anchors).map_err(|error| format!("{}: {error}", file.display()))
}

/// Readers see the old file or the new one. A file that is the same is not written.
fn write(file: &Path, anchors: &str) -> io::Result<()> {
    if fs::read_to_string(file).is_ok_and(|present| present == anchors) {
        return Ok(());
    }
    let draft = file.with_extension("new");
    fs::write(&draft, anchors)?;
    fs::rename(&draft, file)?;
    tracing::info!(path = %file.display(), "copied the trust anchors of the mesh");
    Ok(())
}

/// Whether a container that ran before in this pod has written it: a ConfigMap's volume cannot be written to.
fn is_own(file: &Path) -> bool {
    fs::OpenOptions::new().append(true).open(file).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_anchors_replace_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(KEY);
        write(&file, "one").unwrap();
        assert!(is_own(&file));
        write(&file, "one and two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "one and two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
