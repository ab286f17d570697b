//! Which requests a match means.

use std::net::IpAddr;

use weft_api::linkerd::tap::observe_request::r#match::tcp::{Netmask, PortRange};

use super::*;

fn of(wanted: kind::Match) -> Match {
    Match { r#match: Some(wanted) }
}

fn http(wanted: http_match::Match) -> Match {
    of(kind::Match::Http(kind::Http { r#match: Some(wanted) }))
}

fn path(prefix: &str) -> Match {
    let wanted = string_match::Match::Prefix(prefix.to_owned());
    http(http_match::Match::Path(StringMatch { r#match: Some(wanted) }))
}

fn authority(exact: &str) -> Match {
    let wanted = string_match::Match::Exact(exact.to_owned());
    http(http_match::Match::Authority(StringMatch { r#match: Some(wanted) }))
}

fn method(method: Method) -> Match {
    http(http_match::Match::Method(method.into()))
}

fn tcp(wanted: tcp::Match) -> Tcp {
    Tcp { r#match: Some(wanted) }
}

fn network(ip: &str, mask: u32) -> tcp::Match {
    let ip: IpAddr = ip.parse().unwrap();
    tcp::Match::Netmask(Netmask { ip: Some(ip.into()), mask })
}

fn ports(min: u32, max: u32) -> tcp::Match {
    tcp::Match::Ports(PortRange { min, max })
}

fn all(matches: Vec<Match>) -> Match {
    of(kind::Match::All(Seq { matches }))
}

fn any(matches: Vec<Match>) -> Match {
    of(kind::Match::Any(Seq { matches }))
}

fn not(wanted: Match) -> Match {
    of(kind::Match::Not(Box::new(wanted)))
}

/// Whether a match means `GET http://web.demo:80/api/list?x=1` from 10.1.0.5:4711 to 10.2.0.9:8080, a pod of
/// deployment web in demo.
fn means(wanted: Match) -> bool {
    let request = Request::builder().uri("/api/list?x=1").header("host", "web.demo:80").body(()).unwrap();
    let head = Head::of(&request);
    let labels: BTreeMap<String, String> =
        [("dst_namespace", "demo"), ("dst_deployment", "web")].map(|(n, v)| (n.into(), v.into())).into();
    let subject = Subject {
        source: "10.1.0.5:4711".parse().unwrap(),
        destination: "10.2.0.9:8080".parse().unwrap(),
        labels: Some(&labels),
        head: &head,
    };
    Matcher::new(Some(wanted)).unwrap().matches(&subject)
}

#[test]
fn a_tap_without_a_match_wants_every_request() {
    assert_eq!(Matcher::new(None), Ok(Matcher::All(Vec::new())));
    assert!(means(all(vec![])));
    assert!(!means(any(vec![])));
}

#[test]
fn the_head_of_a_request_is_compared_without_its_query() {
    assert!(
        means(path("/api")) && means(path("/api/list")) && !means(path("/api/list?")) && !means(path("/v"))
    );
    assert!(means(authority("web.demo:80")) && !means(authority("web.demo")));
    assert!(means(method(Method::GET)) && !means(method(Method::POST)));
    assert!(means(http(http_match::Match::Scheme("http".into()))));
    assert!(!means(http(http_match::Match::Scheme("https".into()))));
}

#[test]
fn addresses_match_by_network_or_port() {
    let source = |wanted| means(of(kind::Match::Source(tcp(wanted))));
    let destination = |wanted| means(of(kind::Match::Destination(tcp(wanted))));
    assert!(source(network("10.1.0.0", 16)) && !source(network("10.2.0.0", 16)));
    assert!(destination(network("10.2.0.9", 32)) && !destination(network("fd00::", 8)));
    assert!(destination(ports(8000, 9000)) && destination(ports(8080, 0)) && destination(ports(0, 8080)));
    assert!(!destination(ports(1, 8079)));
}

#[test]
fn labels_of_the_destination_have_no_prefix() {
    let label = |key: &str, value: &str| {
        of(kind::Match::DestinationLabel(Label { key: key.into(), value: value.into() }))
    };
    assert!(means(label("deployment", "web")) && !means(label("deployment", "db")));
    assert!(!means(label("dst_deployment", "web")));
    assert!(!means(of(kind::Match::RouteLabel(Label { key: "route".into(), value: "x".into() }))));
}

#[test]
fn conditions_combine() {
    let (yes, no) = (|| path("/api"), || path("/other"));
    assert!(means(all(vec![yes(), yes()])) && !means(all(vec![yes(), no()])));
    assert!(means(any(vec![no(), yes()])) && !means(any(vec![no(), no()])));
    assert!(means(not(no())) && !means(not(yes())));
    assert!(means(all(vec![not(any(vec![no()])), yes()])));
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_reason() {
    let refused = |wanted| Matcher::new(Some(wanted)).unwrap_err();
    assert_eq!(refused(Match { r#match: None }), InvalidMatch::Empty);
    assert_eq!(refused(of(kind::Match::Source(Tcp { r#match: None }))), InvalidMatch::Empty);
    assert_eq!(refused(of(kind::Match::Source(tcp(ports(0, 0))))), InvalidMatch::Port(0));
    assert_eq!(refused(of(kind::Match::Source(tcp(ports(1, 70_000))))), InvalidMatch::Port(70_000));
    let text = refused(of(kind::Match::Source(tcp(network("10.0.0.0", 33))))).to_string();
    assert_eq!(text, "10.0.0.0/33 is not a network: the prefix is too long");
    assert_eq!(refused(all((0..300).map(|_| path("/")).collect())), InvalidMatch::TooLong);
}
