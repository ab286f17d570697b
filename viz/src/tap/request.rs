//! Translates the query of a tap into what proxies are asked.

use http::{Method, uri::Scheme};
use tonic::{
    Request,
    metadata::{AsciiMetadataValue, MetadataMap},
};
use weft_api::{
    linkerd::tap::{
        ObserveRequest,
        observe_request::{
            Extract, Match, extract,
            r#match::{
                self as kind, Http, Label, Seq,
                http::{self as http_match, StringMatch, string_match},
            },
        },
    },
    tap,
    viz::{ErrorCode, Failure, ResourceType, TapQuery},
};
use weft_control::model::Name;

const MAX_RPS: f64 = tap::HIGHEST_RPS as f64;
/// Longer values would be cut by the proxies.
const MAX_VALUE: usize = 2_048;

/// A checked query: what every proxy is asked, but for the pods and the rate.
#[derive(Clone, Debug)]
pub(super) struct Question {
    wanted: Match,
    direction: Option<&'static str>,
    ignore_headers: String,
    /// Requests per second over all pods.
    pub(super) max_rps: f64,
}

impl Question {
    /// # Errors
    /// What is wrong with the query.
    pub(super) fn of(query: &TapQuery, ignore_headers: &[http::HeaderName]) -> Result<Self, Failure> {
        let mut conditions = Vec::new();
        let http = |wanted| Match { r#match: Some(kind::Match::Http(Http { r#match: Some(wanted) })) };
        if let Some(method) = value("method", &query.method)? {
            let method = Method::from_bytes(method.to_uppercase().as_bytes())
                .map_err(|_| bad(format!("{method:?} is not an HTTP method")))?;
            conditions.push(http(http_match::Match::Method(method.into())));
        }
        if let Some(scheme) = value("scheme", &query.scheme)? {
            let scheme = Scheme::try_from(scheme).map_err(|_| bad(format!("{scheme:?} is not a scheme")))?;
            conditions.push(http(http_match::Match::Scheme((&scheme).into())));
        }
        if let Some(authority) = value("authority", &query.authority)? {
            let wanted = string_match::Match::Exact(authority.to_owned());
            conditions.push(http(http_match::Match::Authority(StringMatch { r#match: Some(wanted) })));
        }
        if let Some(path) = value("path", &query.path)? {
            let wanted = string_match::Match::Prefix(path.to_owned());
            conditions.push(http(http_match::Match::Path(StringMatch { r#match: Some(wanted) })));
        }
        let to = destination(query)?;
        // Only the source knows what a request was for.
        let direction = (!to.is_empty()).then_some(tap::OUTBOUND);
        conditions.extend(
            to.into_iter().map(|label| Match { r#match: Some(kind::Match::DestinationLabel(label)) }),
        );
        let max_rps = query.max_rps.unwrap_or(MAX_RPS);
        if !(max_rps > 0.0 && max_rps <= MAX_RPS) {
            return Err(bad(format!("max_rps is {max_rps}: write a number above 0 and at most {MAX_RPS}")));
        }
        let wanted = Match { r#match: Some(kind::Match::All(Seq { matches: conditions })) };
        let names: Vec<&str> = ignore_headers.iter().map(http::HeaderName::as_str).collect();
        Ok(Self { wanted, direction, ignore_headers: names.join(","), max_rps })
    }

    /// The request for one node.
    pub(super) fn ask<'a>(
        &self,
        pods: impl Iterator<Item = &'a Name>,
        rps: u32,
        replaces: Option<&AsciiMetadataValue>,
    ) -> Request<ObserveRequest> {
        let headers =
            extract::Http { extract: Some(extract::http::Extract::Headers(extract::http::Headers {})) };
        let mut request = Request::new(ObserveRequest {
            limit: 0,
            r#match: Some(self.wanted.clone()),
            extract: Some(Extract { extract: Some(extract::Extract::Http(headers)) }),
        });
        let metadata = request.metadata_mut();
        insert(metadata, tap::WORKLOADS, &list(pods));
        insert(metadata, tap::MAX_RPS, &rps.to_string());
        if !self.ignore_headers.is_empty() {
            insert(metadata, tap::IGNORE_HEADERS, &self.ignore_headers);
        }
        if let Some(direction) = self.direction {
            insert(metadata, tap::DIRECTION, direction);
        }
        if let Some(replaces) = replaces {
            metadata.insert(tap::REPLACES, replaces.clone());
        }
        request
    }
}

/// The names of pods with commas between them, as many as a proxy reads.
fn list<'a>(pods: impl Iterator<Item = &'a Name>) -> String {
    let mut list = String::new();
    for pod in pods.map(ToString::to_string) {
        if list.len() + pod.len() >= tap::MAX_WORKLOADS_BYTES {
            break;
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&pod);
    }
    list
}

/// The labels of endpoints that are meant by `to_…`.
fn destination(query: &TapQuery) -> Result<Vec<Label>, Failure> {
    let label = |key: &str, value: &str| Label { key: key.to_owned(), value: value.to_owned() };
    let namespace = query.to_namespace.as_deref();
    match (query.to_type, query.to_name.as_deref()) {
        (None, None) => Ok(namespace.map(|namespace| label("namespace", namespace)).into_iter().collect()),
        (Some(ResourceType::Namespace), name) => {
            let namespace = name.or(namespace).ok_or_else(|| bad("to_type=namespace needs to_name"))?;
            Ok(vec![label("namespace", namespace)])
        }
        (Some(kind), Some(name)) => {
            let namespace = namespace.unwrap_or(&query.namespace);
            Ok(vec![label("namespace", namespace), label(kind.as_str(), name)])
        }
        _ => Err(bad("to_type and to_name belong together: give both or none")),
    }
}

fn value<'a>(name: &str, value: &'a Option<String>) -> Result<Option<&'a str>, Failure> {
    match value.as_deref().filter(|value| !value.is_empty()) {
        Some(value) if value.len() > MAX_VALUE => {
            Err(bad(format!("{name} is longer than {MAX_VALUE} characters")))
        }
        value => Ok(value),
    }
}

fn insert(metadata: &mut MetadataMap, name: &'static str, value: &str) {
    // Names of pods and headers are ASCII; anything else names nothing.
    if let Ok(value) = value.parse() {
        metadata.insert(name, value);
    }
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadRequest, message)
}
