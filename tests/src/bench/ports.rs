//! The ports of the servers, and what weft does with each.

use super::{
    case::Kind,
    variant::{Peer, Route},
};

/// Exempt from the mesh; the pairs' ports are among them.
pub(super) const EXEMPT: &str = "7100-7199";
/// Opted in to splicing.
pub(super) const SPLICED: &str = "7200-7201";
/// Opaque: direct pass applies. It does not to the other ports, which are not opaque and whose applications do not send
/// first.
pub(super) const OPAQUE: &str = "7300-7301";

/// Ports that weft's proxies carry.
const CARRIED_FROM: u16 = 7000;
const EXEMPT_FROM: u16 = 7100;
const SPLICED_FROM: u16 = 7200;
const OPAQUE_FROM: u16 = 7300;

const TCP: &[Kind] = &[Kind::Echo, Kind::Sink];
const HTTP: &[Kind] = &[Kind::Http1, Kind::Http2];
const ALL: &[Kind] = &[Kind::Echo, Kind::Sink, Kind::Http1, Kind::Http2];

/// Every port that a server listens on.
pub(super) fn served() -> Vec<(u16, Kind)> {
    let ranges = [(CARRIED_FROM, ALL), (EXEMPT_FROM, ALL), (SPLICED_FROM, TCP), (OPAQUE_FROM, TCP)];
    let ports =
        |(first, kinds): (u16, &'static [Kind])| kinds.iter().map(move |kind| (first + kind.offset(), *kind));
    ranges.into_iter().flat_map(ports).collect()
}

/// The server's port that a pair forwards to.
pub(super) fn application(kind: Kind) -> u16 {
    EXEMPT_FROM + kind.offset()
}

impl Route {
    /// The servers that are reached by this route.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Route::Direct(_) | Route::Weft(_) | Route::Pair(Peer::Haproxy { .. }) => ALL,
            Route::Pair(Peer::Nginx) => HTTP,
            Route::Spliced(_) | Route::DirectPass => TCP,
        }
    }

    /// The port that the client dials.
    pub(super) fn port(self, kind: Kind) -> u16 {
        let first = match self {
            Route::Weft(_) => CARRIED_FROM,
            Route::Direct(_) => EXEMPT_FROM,
            Route::Pair(Peer::Haproxy { threads: Some(_) }) => EXEMPT_FROM + 10,
            Route::Pair(Peer::Haproxy { threads: None }) => EXEMPT_FROM + 20,
            Route::Pair(Peer::Nginx) => EXEMPT_FROM + 30,
            Route::Spliced(_) => SPLICED_FROM,
            Route::DirectPass => OPAQUE_FROM,
        };
        first + kind.offset()
    }
}

impl Kind {
    fn offset(self) -> u16 {
        match self {
            Kind::Echo => 0,
            Kind::Sink => 1,
            Kind::Http1 => 2,
            Kind::Http2 => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::variant::VARIANTS;

    #[test]
    fn every_port_is_in_the_range_that_its_route_needs() {
        for variant in VARIANTS {
            let range = match variant.route {
                Route::Weft(_) => "7000-7099",
                Route::Direct(_) | Route::Pair(_) => EXEMPT,
                Route::Spliced(_) => SPLICED,
                Route::DirectPass => OPAQUE,
            };
            let (first, last) = range.split_once('-').expect("range");
            for kind in variant.route.kinds() {
                let port = variant.route.port(*kind);
                let range = first.parse().expect("port")..=last.parse().expect("port");
                assert!(range.contains(&port), "{} {kind:?}: {port}", variant.name);
            }
        }
    }

    #[test]
    fn no_two_pairs_share_a_port() {
        let pairs = VARIANTS.iter().filter(|variant| matches!(variant.route, Route::Pair(_)));
        let mut ports: Vec<_> =
            pairs.flat_map(|pair| pair.route.kinds().iter().map(|kind| pair.route.port(*kind))).collect();
        ports.extend(served().iter().map(|(port, _)| *port));
        let all = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), all);
    }
}
