//! Opens taps at the aggregated tap API of the cluster.

use std::{fmt, io, time::Duration};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::Request;
use kube::{Client, core::Status};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    compat::FuturesAsyncReadCompatExt,
};
use weft_api::viz::{ErrorCode, Failure, ResourceType, TapMessage, TapQuery};

use crate::taps::Taps;

/// The time until the first message.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A longer line is not of the tap API.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// A client of the tap API. The API server authorizes it by its service account.
pub(crate) struct KubernetesTaps {
    client: Client,
}

impl KubernetesTaps {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Taps for KubernetesTaps {
    fn open(
        &self,
        _: &str,
        query: TapQuery,
    ) -> BoxFuture<'static, Result<BoxStream<'static, TapMessage>, Failure>> {
        let client = self.client.clone();
        Box::pin(async move {
            let request = Request::get(path(&query)).body(Vec::new()).map_err(|error| {
                Failure::new(ErrorCode::BadRequest, format!("the tap cannot be asked for: {error}"))
            })?;
            let reader = match tokio::time::timeout(OPEN_TIMEOUT, client.request_stream(request)).await {
                Ok(answer) => answer.map_err(failure)?,
                Err(_) => {
                    return Err(Failure::new(
                        ErrorCode::Timeout,
                        "The tap API took more than 10 s to answer.",
                    ));
                }
            };
            let lines = FramedRead::new(Box::pin(reader).compat(), LinesCodec::new_with_max_length(MAX_LINE));
            let messages = lines.map(|line| match line {
                Ok(line) => serde_json::from_str(&line)
                    .unwrap_or_else(|error| broken(&format!("the tap API sent what is no message: {error}"))),
                Err(error) => broken(&io::Error::other(error).to_string()),
            });
            // An error is the last message.
            let until_error = messages.scan(false, |ended, message| {
                let next = (!*ended).then(|| message.clone());
                *ended = matches!(message, TapMessage::Error { .. });
                futures::future::ready(next)
            });
            let end = stream::once(async { broken("the tap API closed the connection") });
            Ok(until_error.chain(end).boxed())
        })
    }
}

impl fmt::Debug for KubernetesTaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KubernetesTaps")
    }
}

/// Where the tap API serves a resource.
fn path(query: &TapQuery) -> String {
    const BASE: &str = "/apis/tap.linkerd.io/v1alpha1/watch/namespaces";
    let segment =
        |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let namespace = segment(&query.namespace);
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            parameters.append_pair(name, &value);
        }
    };
    add("to_namespace", query.to_namespace.clone());
    add("to_type", query.to_type.map(|kind| kind.to_string()));
    add("to_name", query.to_name.clone());
    add("method", query.method.clone());
    add("path", query.path.clone());
    add("authority", query.authority.clone());
    add("scheme", query.scheme.clone());
    add("max_rps", query.max_rps.map(|rps| rps.to_string()));
    let parameters = parameters.finish();
    match query.kind {
        ResourceType::Namespace => format!("{BASE}/{namespace}/tap?{parameters}"),
        kind => format!("{BASE}/{namespace}/{}/{}/tap?{parameters}", kind.plural(), segment(&query.name)),
    }
}

/// What the API server's or the tap API's refusal means.
fn failure(error: kube::Error) -> Failure {
    const HINT: &str =
        "Look at the APIService v1alpha1.tap.linkerd.io and at the Deployment tap: weft viz check.";
    match error {
        kube::Error::Api(status) => {
            // The tap API says itself what is wrong; the API server answers in its own form.
            if let Some(failure) = own(&status) {
                return failure;
            }
            let code = match status.code {
                403 => ErrorCode::Forbidden,
                404 => ErrorCode::NotFound,
                429 => ErrorCode::TooManyTaps,
                _ => ErrorCode::ClusterUnavailable,
            };
            let hint = match code {
                ErrorCode::Forbidden => {
                    "The dashboard has no right to tap: dashboard.restrictPrivileges of the chart takes it away."
                }
                _ => HINT,
            };
            Failure::new(code, format!("The tap API answers: {}.", status.message)).hint(hint)
        }
        other => {
            tracing::warn!(error = %other, "the tap API does not answer");
            Failure::new(ErrorCode::ClusterUnavailable, "The tap API does not answer.").hint(HINT)
        }
    }
}

/// The failure that the tap API describes in the causes of a Status.
fn own(status: &Status) -> Option<Failure> {
    let cause = status.details.as_ref()?.causes.first()?;
    let code: ErrorCode = serde_json::from_value(cause.reason.as_str().into()).ok()?;
    if matches!(code, ErrorCode::Other(_)) {
        return None;
    }
    let failure = Failure::new(code, status.message.clone());
    Some(if cause.message.is_empty() { failure } else { failure.hint(cause.message.clone()) })
}

fn broken(message: &str) -> TapMessage {
    let failure = Failure::new(ErrorCode::ClusterUnavailable, format!("The tap ended: {message}."));
    TapMessage::Error { error: failure.hint("Open it again.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_tap_api_is_told_from_one_of_the_api_server() {
        let status = |reason: &str| -> Status {
            let cause = serde_json::json!({"reason": reason, "message": "do this"});
            let details = serde_json::json!({"causes": [cause]});
            let body = serde_json::json!({"kind": "Status", "status": "Failure", "message": "no", "code": 409, "details": details});
            serde_json::from_value(body).unwrap()
        };
        let failure = own(&status("tap_disabled")).unwrap();
        assert_eq!((failure.code, failure.hint.as_deref()), (ErrorCode::TapDisabled, Some("do this")));
        assert_eq!(own(&status("FieldValueInvalid")), None);
    }

    #[test]
    fn a_tap_is_asked_for_by_path_and_parameters() {
        let query = TapQuery {
            namespace: "a/b".into(),
            kind: ResourceType::Deployment,
            name: "w b?".into(),
            to_namespace: None,
            to_type: None,
            to_name: None,
            method: Some("GET".into()),
            path: Some("/a&b=c".into()),
            authority: None,
            scheme: None,
            max_rps: Some(50.0),
        };
        assert_eq!(
            path(&query),
            "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/a%2Fb/deployments/w%20b%3F/tap\
             ?method=GET&path=%2Fa%26b%3Dc&max_rps=50"
        );
        let namespace =
            TapQuery { kind: ResourceType::Namespace, method: None, path: None, max_rps: None, ..query };
        assert_eq!(path(&namespace), "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/a%2Fb/tap?");
    }
}
