//! Makes a client for the cluster that the global options name.

use std::{env, time::Duration};

use anyhow::{Context, Result, anyhow};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::global::Global;

/// A client for the cluster. It has not talked to the cluster yet.
pub(crate) async fn connect(global: &Global) -> Result<Client> {
    client(global, Some(Duration::from_secs(30))).await
}

/// A client for connections on which nothing may happen for a long time.
pub(crate) async fn connect_for_streams(global: &Global) -> Result<Client> {
    client(global, None).await
}

/// Whether there is a kubeconfig with a context, or a pod's service account.
pub(crate) fn names_a_cluster(global: &Global) -> bool {
    global.kubeconfig.is_some()
        || global.context.is_some()
        || env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || Kubeconfig::read().is_ok_and(|kubeconfig| kubeconfig.current_context.is_some())
}

async fn client(global: &Global, read_timeout: Option<Duration>) -> Result<Client> {
    let mut config = config(global).await?;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = read_timeout;
    config.reset_reader_on_write = true;
    // The commands say at once what is wrong, and `check` repeats by itself.
    config.default_retry = false;
    if let Some(user) = &global.impersonate {
        config.auth_info.impersonate = Some(user.clone());
        config.auth_info.impersonate_groups = Some(global.impersonate_groups.clone());
    }
    let url = config.cluster_url.to_string();
    Client::try_from(config).with_context(|| format!("cannot make a client for the API server at {url}"))
}

async fn config(global: &Global) -> Result<Config> {
    let options = KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
    let kubeconfig = match &global.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    match kubeconfig {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| match error {
            KubeconfigError::LoadContext(name) if name.is_empty() => no_context(),
            KubeconfigError::CurrentContextNotSet => no_context(),
            KubeconfigError::LoadContext(name) => anyhow!(
                "the kubeconfig has no context {name:?}; `kubectl config get-contexts` lists those that it has"
            ),
            error => anyhow::Error::new(error).context("the kubeconfig cannot be used"),
        }),
        // In a pod, its service account is used.
        Err(_) if global.kubeconfig.is_none() && env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            Config::incluster().context("cannot use the pod's service account")
        }
        Err(KubeconfigError::ReadConfig(error, path)) => Err(anyhow!(
            "there is no cluster to talk to: cannot read the kubeconfig {}: {error}; give one with --kubeconfig or \
             $KUBECONFIG",
            path.display()
        )),
        Err(KubeconfigError::FindPath) => {
            Err(anyhow!("there is no cluster to talk to: no kubeconfig; give one with --kubeconfig or $KUBECONFIG"))
        }
        Err(error) => Err(anyhow::Error::new(error).context("the kubeconfig cannot be used")),
    }
}

fn no_context() -> anyhow::Error {
    anyhow!(
        "the kubeconfig has no current context; choose one with --context or `kubectl config use-context NAME`"
    )
}
