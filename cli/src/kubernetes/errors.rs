//! Says what is wrong when the API server does not do what it was asked.

use std::error::Error;

use anyhow::anyhow;

/// An error for the user: what could not be done, why, and what helps.
pub(crate) fn explain(error: kube::Error, doing: &str) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code == 401 => anyhow!(
            "cannot {doing}: the API server does not accept the credentials of the kubeconfig ({}); log in again, or \
             choose another context with --context",
            status.message
        ),
        kube::Error::Api(status) if status.code == 403 => anyhow!(
            "cannot {doing}: {}; an administrator of the cluster can grant this right",
            status.message
        ),
        kube::Error::Api(status) if status.message.is_empty() => {
            anyhow!("cannot {doing}: the answer is HTTP {}", status.code)
        }
        kube::Error::Api(status) => anyhow!("cannot {doing}: {}", status.message),
        error @ (kube::Error::Service(_) | kube::Error::HyperError(_)) => anyhow!(
            "cannot {doing}: the API server does not answer: {}; does the cluster run, and is the right context \
             chosen (`kubectl config current-context`)?",
            innermost(&error)
        ),
        kube::Error::Auth(error) => {
            anyhow!("cannot {doing}: the kubeconfig's way to log in failed: {}", innermost(&error))
        }
        error => anyhow!("cannot {doing}: {error}"),
    }
}

/// Whether the API server says that the object does not exist.
pub(crate) fn not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
