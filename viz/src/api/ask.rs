//! What a call asks for, and for what time.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use weft_api::viz::{
    ErrorCode, Failure, Meta, ResourceRef, ResourceType, Selector, Source, Spark, UnknownType, Warning,
    Window,
};

use super::App;
use crate::{
    clock,
    cluster::ClusterView,
    figures::{ByEnds, Figures, Flow, MAX_SPARK_VALUES, Resolution, Span},
    missing::missing,
    query::{Filter, Grouping, Level, Side, filters_of, label_of},
};

/// Beyond this number of rows, the small charts would be too much for the answer.
const MAX_SPARKS: usize = 2000;

/// What the question for how long there are figures may take.
const HISTORY_LIMIT: Duration = Duration::from_secs(2);

/// The parameters of all calls, as they are in the URL.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) window: Option<String>,
    pub(crate) namespace: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) spark: Option<bool>,
    selector: Option<String>,
    to_namespace: Option<String>,
    to_type: Option<String>,
    to_name: Option<String>,
    from_namespace: Option<String>,
    from_type: Option<String>,
    from_name: Option<String>,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) at: u64,
    pub(crate) window: Window,
    pub(crate) params: Params,
    pub(crate) view: Arc<ClusterView>,
    pub(crate) figures: Figures,
    /// For how many seconds there are figures, if that is known.
    history: OnceLock<f64>,
    warnings: Mutex<Vec<Warning>>,
}

impl Ask {
    /// A call that is answered by who answers now.
    pub(crate) fn new(app: &App, params: Params) -> Result<Self, Failure> {
        app.cluster.synced()?;
        let window = match params.window.as_deref() {
            None | Some("") => Window::default(),
            Some(text) => text.parse().map_err(|error| bad_request(format!("window: {error}.")))?,
        };
        let figures = app.sources.current();
        // Without Prometheus there is only the last minute.
        let window = if figures.source() == Source::Proxies { Window::MINUTE } else { window };
        Ok(Self {
            at: begin_of_step(clock::now() as u64, app.settings.scrape_interval.as_secs()),
            window,
            params,
            view: app.cluster.view(),
            figures,
            history: OnceLock::new(),
            warnings: Mutex::default(),
        })
    }

    pub(crate) fn warn(&self, code: &str, message: impl Into<String>) {
        let warning = Warning { code: code.to_owned(), message: message.into() };
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    pub(crate) fn meta(&self) -> Meta {
        let warnings = self.warnings.lock().clone();
        Meta { at: self.at as f64, window: self.window, source: self.figures.source(), warnings }
    }

    /// Whether the answer depends on Prometheus.
    pub(crate) fn needs_prometheus(&self) -> bool {
        self.figures.source() == Source::Prometheus
    }

    /// The window.
    pub(crate) fn span(&self) -> Span {
        let seconds = self.window.length().as_secs();
        Span::new(self.at, seconds).covering(self.covered(seconds as f64))
    }

    /// Finds out for how long there are figures. Problems are of a minute, also if the window is shorter.
    pub(crate) async fn learn_history(&self, app: &App) {
        let interval = app.settings.scrape_interval.as_secs_f64();
        let seconds = self.window.max(Window::MINUTE).length().as_secs();
        let known = self.figures.known_seconds(self.at, seconds, interval);
        if let Ok(Some(known)) = tokio::time::timeout(HISTORY_LIMIT, known).await {
            let _ = self.history.set(known);
        }
    }

    /// For how many seconds there are figures. `None` if that is not known.
    pub(crate) fn history(&self) -> Option<f64> {
        self.history.get().copied()
    }

    /// Of how many of the last `seconds` there are figures. The proxies' own figures are scaled already.
    pub(crate) fn covered(&self, seconds: f64) -> f64 {
        match self.figures.source() {
            Source::Prometheus => self.history().map_or(seconds, |known| known.clamp(1.0, seconds.max(1.0))),
            Source::Proxies => seconds,
        }
    }

    pub(crate) fn resolution(&self, app: &App, max_values: u64) -> Resolution {
        let interval = app.settings.scrape_interval.as_secs();
        Resolution::new(self.at, self.window.length().as_secs(), max_values, interval)
    }

    /// The small charts of so many rows. If they are too many, there are none, and a warning says so.
    pub(crate) async fn sparks(
        &self,
        app: &App,
        flow: &Flow,
        by: &[Grouping],
        rows: usize,
    ) -> Result<ByEnds<Spark>, Failure> {
        match rows {
            0 => Ok(ByEnds::new()),
            1..=MAX_SPARKS => self.figures.sparks(self.resolution(app, MAX_SPARK_VALUES), flow, by).await,
            _ => {
                let message = format!("Tables with more than {MAX_SPARKS} rows have no small charts.");
                self.warn("truncated", message);
                Ok(ByEnds::new())
            }
        }
    }

    pub(crate) fn grouping(&self, side: Side, level: Level) -> Grouping {
        Grouping { side, level, bare: self.view.has_bare_pods }
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.params.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }

    /// The resource that the call names, if it names one.
    pub(crate) fn resource(&self) -> Result<Option<ResourceRef>, Failure> {
        let Params { namespace, kind, name, .. } = &self.params;
        resource("", namespace, kind, name)
    }

    /// The resource that the call has to name.
    pub(crate) fn needed_resource(&self) -> Result<ResourceRef, Failure> {
        self.resource()?.ok_or_else(|| {
            bad_request("namespace is missing.").hint("Name a resource with namespace, type and name.")
        })
    }

    pub(crate) fn to(&self) -> Result<Option<ResourceRef>, Failure> {
        let Params { to_namespace, to_type, to_name, .. } = &self.params;
        resource("to_", to_namespace, to_type, to_name)
    }

    pub(crate) fn from(&self) -> Result<Option<ResourceRef>, Failure> {
        let Params { from_namespace, from_type, from_name, .. } = &self.params;
        resource("from_", from_namespace, from_type, from_name)
    }

    /// Fails if a resource does not exist.
    pub(crate) fn must_exist(&self, resource: &ResourceRef) -> Result<(), Failure> {
        if self.view.exists(resource) { Ok(()) } else { Err(missing(resource)) }
    }

    /// The rows of an answer. Fails if there are none because something that the call names does not exist. What is gone
    /// may still have figures.
    pub(crate) fn explain_none<T>(&self, rows: Vec<T>) -> Result<Vec<T>, Failure> {
        if !rows.is_empty() {
            return Ok(rows);
        }
        if let Some(namespace) = self.namespace() {
            self.must_exist(&ResourceRef::namespace(namespace))?;
        }
        // A name without a namespace or a type is one of several.
        let named = given(&self.params.name).and_then(|_| self.resource().ok().flatten());
        for resource in [named, self.to()?, self.from()?].iter().flatten() {
            self.must_exist(resource)?;
        }
        Ok(rows)
    }

    /// The labels that resources have to have.
    pub(crate) fn selector(&self) -> Result<Selector, Failure> {
        match given(&self.params.selector) {
            None => Ok(Selector::default()),
            Some(text) => text.parse().map_err(|error| bad_request(format!("selector: {error}."))),
        }
    }

    /// The filters of what a resource itself sends or receives. A service stands for its pods.
    pub(crate) fn own_filters(&self, resource: &ResourceRef) -> Vec<Filter> {
        if resource.kind != ResourceType::Service {
            return filters_of(Side::Own, resource);
        }
        let pods = self.view.pods_of(resource).iter().map(|pod| pod.name.clone()).collect();
        vec![
            Filter::is(label_of(Side::Own, ResourceType::Namespace), resource.namespace.clone()),
            Filter::In(label_of(Side::Own, ResourceType::Pod), pods),
        ]
    }
}

/// How often the dashboard asks, in seconds.
const REFRESH: u64 = 5;

/// The time that answers are of. All who ask within one step ask for the same time, and cost as much as one of them.
/// Steps are not longer than the interval of scrapes, so that nothing new is missed.
fn begin_of_step(now: u64, scrape_interval: u64) -> u64 {
    let step = scrape_interval.clamp(1, REFRESH);
    now / step * step
}

/// A parameter that is not empty.
pub(super) fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// Reads `namespace`, `type` and `name`. A namespace alone is the namespace itself.
fn resource(
    prefix: &str,
    namespace: &Option<String>,
    kind: &Option<String>,
    name: &Option<String>,
) -> Result<Option<ResourceRef>, Failure> {
    let kind = given(kind).map(|kind| parse_type(prefix, &kind)).transpose()?;
    let (namespace, name) = (given(namespace), given(name));
    match (namespace, kind, name) {
        (None, None, None) => Ok(None),
        (Some(namespace), None | Some(ResourceType::Namespace), None) => {
            Ok(Some(ResourceRef::namespace(namespace)))
        }
        (namespace, Some(ResourceType::Namespace), Some(name))
            if namespace.as_ref().is_none_or(|n| *n == name) =>
        {
            Ok(Some(ResourceRef::namespace(name)))
        }
        (Some(namespace), Some(kind), Some(name)) => Ok(Some(ResourceRef { namespace, kind, name })),
        (None, ..) => Err(bad_request(format!("{prefix}namespace is missing."))),
        (_, None, _) => Err(bad_request(format!("{prefix}type is missing: {prefix}name needs it."))),
        (_, _, None) => Err(bad_request(format!("{prefix}name is missing: {prefix}type needs it."))),
    }
}

pub(super) fn parse_type(prefix: &str, text: &str) -> Result<ResourceType, Failure> {
    text.parse().map_err(|error: UnknownType| bad_request(format!("{prefix}type: {error}.")))
}

/// Reads the parameters of a URL. One that is not known is a mistake: it would be ignored otherwise.
pub(crate) fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, Failure> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let reader = serde_urlencoded::Deserializer::new(pairs);
    T::deserialize(reader).map_err(|error| {
        bad_request(format!("The parameters are wrong: {error}.")).hint("docs/viz-api.md lists them.")
    })
}

pub(crate) fn bad_request(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(namespace: &str, kind: &str, name: &str) -> Result<Option<String>, String> {
        let given = |text: &str| Some(text.to_owned());
        resource("to_", &given(namespace), &given(kind), &given(name))
            .map(|found| found.map(|found| found.to_string()))
            .map_err(|failure| failure.message)
    }

    #[test]
    fn all_who_ask_within_five_seconds_ask_for_the_same_time() {
        assert_eq!([1000, 1001, 1004, 1005].map(|now| begin_of_step(now, 10)), [1000, 1000, 1000, 1005]);
        assert_eq!([1000, 1001, 1002].map(|now| begin_of_step(now, 1)), [1000, 1001, 1002]);
        assert_eq!(begin_of_step(1001, 0), 1001);
    }

    #[test]
    fn a_resource_has_three_parts_and_a_namespace_one() {
        assert_eq!(read("", "", ""), Ok(None));
        assert_eq!(read("a", "", "").unwrap().unwrap(), "a/namespace/a");
        assert_eq!(read("a", "namespace", "").unwrap().unwrap(), "a/namespace/a");
        assert_eq!(read("", "namespace", "a").unwrap().unwrap(), "a/namespace/a");
        assert_eq!(read("a", "deployment", "web").unwrap().unwrap(), "a/deployment/web");
        assert_eq!(read("a", "deployment", "").unwrap_err(), "to_name is missing: to_type needs it.");
        assert_eq!(read("", "pod", "b").unwrap_err(), "to_namespace is missing.");
        assert!(read("a", "deploy", "b").unwrap_err().contains("use one of cronjob, "));
    }
}
