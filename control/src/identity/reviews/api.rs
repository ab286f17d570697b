//! Asks the Kubernetes API whom a token belongs to.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::PostParams};

/// The answer must come within this time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What the API server adds to the user of a token that is bound to a pod.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// The service account of a token, and the pod that the token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) namespace: String,
    pub(super) service_account: String,
    pub(super) pod: Option<BoundPod>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BoundPod {
    pub(super) name: String,
    pub(super) uid: String,
    /// Kubernetes before 1.30 does not say it.
    pub(super) node: Option<String>,
}

#[derive(Debug)]
pub(super) enum ReviewError {
    /// The API server says that the token is not valid.
    Refused(String),
    /// There is no answer.
    Unavailable(String),
}

/// Has the API server review `token` for `audience`.
pub(super) async fn review(client: &Client, token: &str, audience: &str) -> Result<Subject, ReviewError> {
    let spec = TokenReviewSpec { audiences: Some(vec![audience.to_owned()]), token: Some(token.to_owned()) };
    let review = TokenReview { metadata: ObjectMeta::default(), spec, status: None };
    let api: Api<TokenReview> = Api::all(client.clone());
    let post = PostParams::default();
    let created = tokio::time::timeout(TIMEOUT, api.create(&post, &review))
        .await
        .map_err(|_| ReviewError::Unavailable(format!("the API server did not answer within {TIMEOUT:?}")))?
        .map_err(|error| ReviewError::Unavailable(describe(&error)))?;
    let status = created
        .status
        .ok_or_else(|| ReviewError::Unavailable("the API server sent a review without a status".into()))?;
    if status.authenticated != Some(true) {
        let reason = status.error.filter(|reason| !reason.is_empty());
        return Err(ReviewError::Refused(
            reason.unwrap_or_else(|| "the API server does not accept it".into()),
        ));
    }
    // An API server that knows nothing of audiences accepts tokens for any.
    if !status.audiences.unwrap_or_default().iter().any(|accepted| accepted == audience) {
        return Err(ReviewError::Refused(format!("it is for another audience than {audience}")));
    }
    subject(status.user.unwrap_or_default())
        .ok_or_else(|| ReviewError::Refused("it belongs to no service account".into()))
}

fn subject(user: UserInfo) -> Option<Subject> {
    let name = user.username?;
    let (namespace, service_account) = name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let extra = user.extra.unwrap_or_default();
    let pod = one(&extra, POD_NAME).zip(one(&extra, POD_UID)).map(|(name, uid)| BoundPod {
        name,
        uid,
        node: one(&extra, NODE_NAME),
    });
    Some(Subject { namespace: namespace.into(), service_account: service_account.into(), pod })
}

fn one(extra: &BTreeMap<String, Vec<String>>, key: &str) -> Option<String> {
    match extra.get(key)?.as_slice() {
        [value] if !value.is_empty() => Some(value.clone()),
        _ => None,
    }
}

fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 || status.code == 401 => {
            format!(
                "the API server refuses token reviews ({}): grant the verb create on tokenreviews",
                status.message
            )
        }
        other => format!("the API server cannot be asked: {other}"),
    }
}
