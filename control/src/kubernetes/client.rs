//! Connects to the API server.

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long writing a request may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no client of an API server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "--kubernetes: this process does not run in a pod with a service account's token ({0}): run it in the \
         cluster, or name a file with --kubeconfig"
    )]
    NotInCluster(InClusterError),
    #[error("--kubeconfig {file}: {error}: give a file that works with kubectl --kubeconfig")]
    Kubeconfig { file: String, error: KubeconfigError },
    #[error("cannot make a client of the API server at {server}: {error}")]
    Client { server: String, error: kube::Error },
}

/// A client with the rights of `kubeconfig`, or else of the pod's service account. Does not connect yet.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    let mut config = match kubeconfig {
        None => Config::incluster().map_err(ClientError::NotInCluster)?,
        Some(path) => {
            let failed = |error| ClientError::Kubeconfig { file: path.display().to_string(), error };
            let file = Kubeconfig::read_from(path).map_err(failed)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(failed)?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    // The watches retry by themselves, and say so.
    config.default_retry = false;
    let server = config.cluster_url.to_string();
    tracing::info!(server, "uses the Kubernetes API");
    Client::try_from(config).map_err(|error| ClientError::Client { server, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_says_which_flag_is_wrong_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("absent");
        let error = client(Some(&missing)).await.err().unwrap().to_string();
        assert!(error.starts_with(&format!("--kubeconfig {}: ", missing.display())), "{error}");
        assert!(error.contains("kubectl"), "{error}");
        let error = client(None).await.err().unwrap().to_string();
        assert!(error.contains("--kubeconfig"), "{error}");
    }
}
