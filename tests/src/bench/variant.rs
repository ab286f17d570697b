//! The variants: the paths that are compared.

/// A path from the client to a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    pub name: &'static str,
    /// The direct variant between the same two places. Ratios are to its figures of the same repetition.
    pub base: &'static str,
    pub route: Route,
}

/// Where the server is, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the other node.
    Far,
    /// On the client's own node.
    Near,
}

/// What carries the bytes between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// No proxy: the ports are exempt from the mesh.
    Direct(Place),
    /// weft, through its proxies.
    Weft(Place),
    /// weft, on ports that opted in to splicing (sk_msg). Same node: from application to application. Cross-node:
    /// between each application and its proxy.
    Spliced(Place),
    /// weft, on opaque ports of the same node: direct pass, without the proxy.
    DirectPass,
    /// A pair of processes of another proxy with mTLS between them, on exempt ports.
    Pair(Peer),
}

/// The other proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Haproxy {
        /// `nbthread`; `None`: haproxy's default.
        threads: Option<u8>,
    },
    /// With a worker for each processor.
    Nginx,
}

/// In the order of the first repetition.
pub const VARIANTS: [Variant; 10] = [
    Variant { name: "direct", base: "direct", route: Route::Direct(Place::Far) },
    Variant { name: "weft", base: "direct", route: Route::Weft(Place::Far) },
    Variant { name: "weft-spliced-cross-node", base: "direct", route: Route::Spliced(Place::Far) },
    Variant { name: "haproxy-1", base: "direct", route: Route::Pair(Peer::Haproxy { threads: Some(1) }) },
    Variant { name: "haproxy", base: "direct", route: Route::Pair(Peer::Haproxy { threads: None }) },
    Variant { name: "nginx", base: "direct", route: Route::Pair(Peer::Nginx) },
    Variant { name: "direct-same-node", base: "direct-same-node", route: Route::Direct(Place::Near) },
    Variant { name: "weft-same-node", base: "direct-same-node", route: Route::Weft(Place::Near) },
    Variant { name: "weft-spliced", base: "direct-same-node", route: Route::Spliced(Place::Near) },
    Variant { name: "weft-direct-pass", base: "direct-same-node", route: Route::DirectPass },
];

impl Variant {
    /// Whether other variants are compared with this one.
    pub fn is_base(&self) -> bool {
        self.base == self.name
    }

    pub fn has_proxies(&self) -> bool {
        !matches!(self.route, Route::Direct(_))
    }

    pub fn is_haproxy(&self) -> bool {
        matches!(self.route, Route::Pair(Peer::Haproxy { .. }))
    }
}

impl Route {
    /// Where the server is.
    pub fn place(self) -> Place {
        match self {
            Route::Direct(place) | Route::Weft(place) | Route::Spliced(place) => place,
            Route::DirectPass => Place::Near,
            Route::Pair(_) => Place::Far,
        }
    }

    /// Whether weft's proxies serve it.
    pub fn is_weft(self) -> bool {
        matches!(self, Route::Weft(_) | Route::Spliced(_) | Route::DirectPass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_is_a_variant_between_the_same_places() {
        for variant in VARIANTS {
            let base = VARIANTS.iter().find(|other| other.name == variant.base).expect("base");
            assert!(base.is_base(), "{}", variant.name);
            assert_eq!(base.route.place(), variant.route.place(), "{}", variant.name);
        }
    }
}
