//! Asks the Kubernetes API whether a user may tap a resource.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use tokio::time::timeout;
use weft_api::viz::{ErrorCode, Failure, ResourceType, TapQuery};

use super::{discovery::GROUP, front_proxy::User};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer is kept. A right that is taken away holds this long for new taps.
const FRESH: Duration = Duration::from_secs(10);
const MAX_KNOWN: usize = 1_000;

/// Reviews, with the answers of the last seconds.
pub(super) struct Reviews {
    api: Api<SubjectAccessReview>,
    known: Mutex<HashMap<Question, (Instant, bool, String)>>,
}

/// Who wants to tap what.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    user: User,
    namespace: String,
    kind: ResourceType,
    name: String,
}

impl Reviews {
    pub(super) fn new(client: Client) -> Self {
        Self { api: Api::all(client), known: Mutex::default() }
    }

    /// # Errors
    /// The user may not, or that cannot be found out.
    pub(super) async fn check(&self, user: &User, query: &TapQuery) -> Result<(), Failure> {
        let TapQuery { namespace, kind, name, .. } = query;
        let question =
            Question { user: user.clone(), namespace: namespace.clone(), kind: *kind, name: name.clone() };
        let known = self.known.lock().get(&question).filter(|(at, ..)| at.elapsed() < FRESH).cloned();
        let (allowed, reason) = match known {
            Some((_, allowed, reason)) => (allowed, reason),
            None => {
                let (allowed, reason) = self.ask(&question).await?;
                let mut known = self.known.lock();
                if known.len() >= MAX_KNOWN {
                    known.retain(|_, (at, ..)| at.elapsed() < FRESH);
                }
                if known.len() < MAX_KNOWN {
                    known.insert(question.clone(), (Instant::now(), allowed, reason.clone()));
                }
                (allowed, reason)
            }
        };
        if allowed {
            return Ok(());
        }
        let plural = kind.plural();
        let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        let text =
            format!("{} may not watch {plural}/tap of {GROUP} in namespace {namespace}{reason}", user.name);
        Err(Failure::new(ErrorCode::Forbidden, text)
            .hint("Bind the user to the ClusterRole weft-viz-tap-admin, or to one of your own"))
    }

    async fn ask(&self, question: &Question) -> Result<(bool, String), Failure> {
        let unavailable = |reason: String| {
            let text = format!("the Kubernetes API does not say who may tap: {reason}");
            Failure::new(ErrorCode::ClusterUnavailable, text)
        };
        let review = question.review();
        let answer = timeout(ANSWER_TIMEOUT, self.api.create(&PostParams::default(), &review))
            .await
            .map_err(|_| unavailable("it did not answer in time".to_owned()))?
            .map_err(|error| unavailable(error.to_string()))?;
        let status = answer.status.unwrap_or_default();
        Ok((status.allowed && status.denied != Some(true), status.reason.unwrap_or_default()))
    }
}

impl Question {
    fn review(&self) -> SubjectAccessReview {
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let extra: BTreeMap<String, Vec<String>> = self.user.extra.clone();
        SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(self.user.name.clone()),
                groups: some(&self.user.groups),
                extra: (!extra.is_empty()).then_some(extra),
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.namespace.clone()),
                    verb: Some("watch".to_owned()),
                    group: Some(GROUP.to_owned()),
                    version: Some("v1alpha1".to_owned()),
                    resource: Some(self.kind.plural().to_owned()),
                    subresource: Some("tap".to_owned()),
                    name: Some(self.name.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        }
    }
}
