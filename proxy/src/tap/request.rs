//! Reads what a client of the Tap API wants.

use std::collections::HashSet;

use http::HeaderName;
use tonic::{Status, metadata::MetadataMap};
use weft_api::{
    linkerd::tap::{
        ObserveRequest,
        observe_request::extract::{Extract, http as http_extract},
    },
    tap,
};

use super::{limit::Bound, matching::Matcher};
use crate::{net::Direction, workload::Key};

/// More pods than a node has.
const MAX_WORKLOADS: usize = 2_000;
const MAX_IGNORED_HEADERS: usize = 100;

/// A checked request for a tap.
pub(super) struct Wanted {
    pub(super) workloads: HashSet<Key>,
    /// `None`: both.
    pub(super) direction: Option<Direction>,
    pub(super) matcher: Matcher,
    /// `None`: headers are not wanted.
    pub(super) ignored_headers: Option<HashSet<HeaderName>>,
    pub(super) bound: Bound,
    pub(super) replaces: Option<u64>,
}

impl Wanted {
    /// # Errors
    /// INVALID_ARGUMENT, with what is wrong and how to mend it.
    pub(super) fn read(metadata: &MetadataMap, request: ObserveRequest) -> Result<Self, Status> {
        let extract = request.extract.and_then(|extract| extract.extract);
        let wants_headers = match extract {
            Some(Extract::Http(http)) => matches!(http.extract, Some(http_extract::Extract::Headers(_))),
            None => false,
        };
        let ignored = ignored_headers(metadata)?;
        Ok(Self {
            workloads: workloads(metadata)?,
            direction: direction(metadata)?,
            matcher: Matcher::new(request.r#match)
                .map_err(|error| Status::invalid_argument(error.to_string()))?,
            ignored_headers: wants_headers.then_some(ignored),
            bound: bound(metadata, request.limit)?,
            replaces: number(metadata, tap::REPLACES)?,
        })
    }
}

fn workloads(metadata: &MetadataMap) -> Result<HashSet<Key>, Status> {
    let example = "write the pods of this node with commas between them, as in \"demo/web-1,demo/web-2\"";
    let list = text(metadata, tap::WORKLOADS)?.filter(|list| !list.is_empty()).ok_or_else(|| {
        Status::invalid_argument(format!("the metadata {} is missing: {example}", tap::WORKLOADS))
    })?;
    let key = |name: &str| {
        let (namespace, name) = name.trim().split_once('/')?;
        let is_name = |part: &str| !part.is_empty() && part.len() <= 253 && !part.contains('/');
        (is_name(namespace) && is_name(name))
            .then(|| Key { namespace: namespace.to_owned(), name: name.to_owned() })
    };
    let mut workloads = HashSet::new();
    for name in list.split(',') {
        let key = key(name).ok_or_else(|| {
            let name: String = name.chars().take(100).collect();
            Status::invalid_argument(format!("{name:?} in {} is no pod: {example}", tap::WORKLOADS))
        })?;
        workloads.insert(key);
        if workloads.len() > MAX_WORKLOADS {
            return Err(Status::invalid_argument(format!(
                "{} names more than {MAX_WORKLOADS} pods",
                tap::WORKLOADS
            )));
        }
    }
    Ok(workloads)
}

fn direction(metadata: &MetadataMap) -> Result<Option<Direction>, Status> {
    match text(metadata, tap::DIRECTION)? {
        None => Ok(None),
        Some(tap::INBOUND) => Ok(Some(Direction::Inbound)),
        Some(tap::OUTBOUND) => Ok(Some(Direction::Outbound)),
        Some(_) => Err(Status::invalid_argument(format!(
            "{} is neither {} nor {}; leave it out for both",
            tap::DIRECTION,
            tap::INBOUND,
            tap::OUTBOUND
        ))),
    }
}

fn bound(metadata: &MetadataMap, limit: u32) -> Result<Bound, Status> {
    match number(metadata, tap::MAX_RPS)? {
        Some(rps) => match u32::try_from(rps) {
            Ok(rps) if (1..=tap::HIGHEST_RPS).contains(&rps) => Ok(Bound::PerSecond(rps)),
            _ => Err(Status::invalid_argument(format!(
                "{} is not between 1 and {}",
                tap::MAX_RPS,
                tap::HIGHEST_RPS
            ))),
        },
        None if limit > 0 => Ok(Bound::InAll(limit)),
        None => Err(Status::invalid_argument(format!(
            "there is no limit: set `limit` to a number of requests, or the metadata {} to requests per second",
            tap::MAX_RPS
        ))),
    }
}

fn ignored_headers(metadata: &MetadataMap) -> Result<HashSet<HeaderName>, Status> {
    let names = text(metadata, tap::IGNORE_HEADERS)?.unwrap_or_default();
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let ignored = names
        .take(MAX_IGNORED_HEADERS + 1)
        .map(|name| {
            HeaderName::try_from(name).map_err(|_| {
                let name: String = name.chars().take(100).collect();
                Status::invalid_argument(format!(
                    "{name:?} in {} is no name of a header",
                    tap::IGNORE_HEADERS
                ))
            })
        })
        .collect::<Result<HashSet<_>, _>>()?;
    match ignored.len() <= MAX_IGNORED_HEADERS {
        true => Ok(ignored),
        false => Err(Status::invalid_argument(format!(
            "{} names more than {MAX_IGNORED_HEADERS} headers",
            tap::IGNORE_HEADERS
        ))),
    }
}

fn number(metadata: &MetadataMap, name: &str) -> Result<Option<u64>, Status> {
    let Some(text) = text(metadata, name)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Status::invalid_argument(format!("{name} is not a number")))
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Result<Option<&'a str>, Status> {
    let Some(value) = metadata.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| Status::invalid_argument(format!("{name} is not plain ASCII text")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metadata: &[(&'static str, &str)], limit: u32) -> Result<Wanted, String> {
        let mut map = MetadataMap::new();
        for (name, value) in metadata {
            map.insert(*name, value.parse().unwrap());
        }
        let request = ObserveRequest { limit, ..ObserveRequest::default() };
        Wanted::read(&map, request).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn a_tap_names_the_pods_that_it_wants() {
        let wanted = read(&[(tap::WORKLOADS, "demo/web-1, demo/web-2"), (tap::MAX_RPS, "50")], 0).unwrap();
        let mut names: Vec<_> = wanted.workloads.iter().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["demo/web-1", "demo/web-2"]);
        assert_eq!((wanted.bound, wanted.direction, wanted.replaces), (Bound::PerSecond(50), None, None));
        assert!(wanted.ignored_headers.is_none());
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let pods = (tap::WORKLOADS, "demo/web");
        for (metadata, limit, text) in [
            (&[][..], 1, "weft-workloads is missing: write the pods"),
            (&[(tap::WORKLOADS, "web")], 1, "\"web\" in weft-workloads is no pod"),
            (&[(tap::WORKLOADS, "demo/web/x")], 1, "is no pod"),
            (&[pods], 0, "there is no limit: set `limit`"),
            (&[pods, (tap::MAX_RPS, "0")], 1, "weft-max-rps is not between 1 and 100"),
            (&[pods, (tap::MAX_RPS, "101")], 1, "weft-max-rps is not between 1 and 100"),
            (&[pods, (tap::MAX_RPS, "x")], 1, "weft-max-rps is not a number"),
            (&[pods, (tap::DIRECTION, "up")], 1, "weft-direction is neither inbound nor outbound"),
            (&[pods, (tap::IGNORE_HEADERS, "a b")], 1, "\"a b\" in weft-ignore-headers is no name"),
        ] {
            let Err(error) = read(metadata, limit) else { panic!("{text}: accepted") };
            assert!(error.contains(text), "{error}");
        }
    }
}
