//! Decides whether a tap wants a request: the match of `ObserveRequest`, checked once and then applied to requests.

use std::{collections::BTreeMap, net::SocketAddr};

use http::{Method, Request, header::HOST};
use ipnet::IpNet;
use weft_api::linkerd::tap::observe_request::{
    Match,
    r#match::{
        self as kind, Label, Seq, Tcp,
        http::{self as http_match, StringMatch, string_match},
        tcp,
    },
};

use crate::{metrics::Tls, net::Direction, workload::Workload};

/// More conditions than a filter of a person has.
const MAX_CONDITIONS: usize = 256;
/// The prefix of an endpoint's metric labels, which taps do without.
const LABEL_PREFIX: &str = "dst_";

/// A request on its way, as the proxy of one side sees it.
pub struct Call<'a> {
    pub direction: Direction,
    /// The pod of this side.
    pub workload: &'a Workload,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub tls: &'a Tls,
    /// The metric labels of the endpoint, `dst_*`; for outbound requests.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

/// The parts of a request that matches look at and events show.
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) scheme: &'a str,
    pub(super) authority: &'a str,
    /// Without the query, which may hold secrets.
    pub(super) path: &'a str,
}

/// What is compared: everything of a request that conditions can name.
pub(super) struct Subject<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) labels: Option<&'a BTreeMap<String, String>>,
    pub(super) head: &'a Head<'a>,
}

/// A checked match.
#[derive(Debug, PartialEq)]
pub(super) enum Matcher {
    All(Vec<Matcher>),
    Any(Vec<Matcher>),
    Not(Box<Matcher>),
    Source(Address),
    Destination(Address),
    DestinationLabel(Label),
    /// weft has no routes with labels yet: no request has one.
    RouteLabel,
    Scheme(String),
    Method(Method),
    Authority(Text),
    Path(Text),
}

#[derive(Debug, PartialEq)]
pub(super) enum Address {
    Network(IpNet),
    Ports(u16, u16),
}

#[derive(Debug, PartialEq)]
pub(super) enum Text {
    Exact(String),
    Prefix(String),
}

/// Why a match cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidMatch {
    #[error("a condition of the match is empty; leave it out")]
    Empty,
    #[error("the match has more than {MAX_CONDITIONS} conditions")]
    TooLong,
    #[error("{0} is not a port; ports are between 1 and 65535")]
    Port(u32),
    #[error("{0} is not a network: {1}")]
    Network(String, &'static str),
    #[error("the match names a method or scheme that cannot be read: {0}")]
    Http(String),
}

impl<'a> Head<'a> {
    pub(super) fn of<B>(request: &'a Request<B>) -> Self {
        let uri = request.uri();
        let host = || request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Self {
            method: request.method(),
            // HTTP/1 requests to a server do not name their scheme; without TLS of the application it is this one.
            scheme: uri.scheme_str().unwrap_or("http"),
            authority: uri.authority().map_or_else(host, |authority| authority.as_str()),
            path: uri.path(),
        }
    }
}

impl Matcher {
    /// Checks a match. One without conditions means every request.
    pub(super) fn new(wanted: Option<Match>) -> Result<Self, InvalidMatch> {
        let mut left = MAX_CONDITIONS;
        match wanted {
            None => Ok(Self::All(Vec::new())),
            Some(wanted) => Self::check(wanted, &mut left),
        }
    }

    fn check(wanted: Match, left: &mut usize) -> Result<Self, InvalidMatch> {
        *left = left.checked_sub(1).ok_or(InvalidMatch::TooLong)?;
        let mut sequence = |sequence: Seq| {
            sequence.matches.into_iter().map(|each| Self::check(each, left)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match wanted.r#match.ok_or(InvalidMatch::Empty)? {
            kind::Match::All(all) => Self::All(sequence(all)?),
            kind::Match::Any(any) => Self::Any(sequence(any)?),
            kind::Match::Not(not) => Self::Not(Box::new(Self::check(*not, left)?)),
            kind::Match::Source(tcp) => Self::Source(address(tcp)?),
            kind::Match::Destination(tcp) => Self::Destination(address(tcp)?),
            kind::Match::DestinationLabel(label) => Self::DestinationLabel(label),
            kind::Match::RouteLabel(_) => Self::RouteLabel,
            kind::Match::Http(http) => Self::of_http(http)?,
        })
    }

    fn of_http(http: kind::Http) -> Result<Self, InvalidMatch> {
        Ok(match http.r#match.ok_or(InvalidMatch::Empty)? {
            http_match::Match::Scheme(scheme) => {
                let scheme: http::uri::Scheme =
                    scheme.try_into().map_err(|error: weft_api::linkerd::http_types::InvalidScheme| {
                        InvalidMatch::Http(error.to_string())
                    })?;
                Self::Scheme(scheme.to_string())
            }
            http_match::Match::Method(method) => Self::Method(method.try_into().map_err(
                |error: weft_api::linkerd::http_types::InvalidMethod| InvalidMatch::Http(error.to_string()),
            )?),
            http_match::Match::Authority(wanted) => Self::Authority(text(wanted)?),
            http_match::Match::Path(wanted) => Self::Path(text(wanted)?),
        })
    }

    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        let head = subject.head;
        match self {
            Self::All(all) => all.iter().all(|each| each.matches(subject)),
            Self::Any(any) => any.iter().any(|each| each.matches(subject)),
            Self::Not(not) => !not.matches(subject),
            Self::Source(wanted) => wanted.contains(subject.source),
            Self::Destination(wanted) => wanted.contains(subject.destination),
            Self::DestinationLabel(Label { key, value }) => {
                tap_labels(subject.labels).any(|(name, found)| name == key && found == value)
            }
            Self::RouteLabel => false,
            Self::Scheme(wanted) => wanted.eq_ignore_ascii_case(head.scheme),
            Self::Method(wanted) => wanted == head.method,
            Self::Authority(wanted) => wanted.matches(head.authority),
            Self::Path(wanted) => wanted.matches(head.path),
        }
    }
}

impl Address {
    fn contains(&self, address: SocketAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&address.ip().to_canonical()),
            Self::Ports(first, last) => (*first..=*last).contains(&address.port()),
        }
    }
}

impl Text {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == text,
            Self::Prefix(wanted) => text.starts_with(wanted.as_str()),
        }
    }
}

/// The labels of an endpoint by the names that taps have for them.
pub(super) fn tap_labels(labels: Option<&BTreeMap<String, String>>) -> impl Iterator<Item = (&str, &String)> {
    labels.into_iter().flatten().filter_map(|(name, value)| Some((name.strip_prefix(LABEL_PREFIX)?, value)))
}

fn address(wanted: Tcp) -> Result<Address, InvalidMatch> {
    match wanted.r#match.ok_or(InvalidMatch::Empty)? {
        tcp::Match::Netmask(network) => {
            let ip = network.ip.ok_or(InvalidMatch::Empty)?;
            let ip = std::net::IpAddr::try_from(ip).map_err(|_| InvalidMatch::Empty)?;
            let bad = |reason| InvalidMatch::Network(format!("{ip}/{}", network.mask), reason);
            let mask = u8::try_from(network.mask).map_err(|_| bad("the prefix is too long"))?;
            IpNet::new(ip, mask).map(Address::Network).map_err(|_| bad("the prefix is too long"))
        }
        tcp::Match::Ports(range) => {
            let port = |number, other| {
                // One that is not set is the same as the other one.
                let number = if number == 0 { other } else { number };
                match u16::try_from(number) {
                    Ok(port) if port > 0 => Ok(port),
                    _ => Err(InvalidMatch::Port(number)),
                }
            };
            Ok(Address::Ports(port(range.min, range.max)?, port(range.max, range.min)?))
        }
    }
}

fn text(wanted: StringMatch) -> Result<Text, InvalidMatch> {
    Ok(match wanted.r#match.ok_or(InvalidMatch::Empty)? {
        string_match::Match::Exact(text) => Text::Exact(text),
        string_match::Match::Prefix(text) => Text::Prefix(text),
    })
}

#[cfg(test)]
mod tests;
