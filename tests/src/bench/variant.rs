//! By which way do the bytes go?

/// A way from the client to a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    /// As it is called in every output.
    pub name: &'static str,
    /// The variant whose figures of the same repetition are 1.
    pub base: &'static str,
    /// Where the client finds it.
    pub route: Route,
}

/// Where the server is, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the other node.
    Far,
    /// On the client's own.
    Near,
}

/// What is on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Nothing: ports that the pods' annotations exempt from the mesh.
    Direct(Place),
    /// weft.
    Weft(Place),
    /// weft on the client's own node, on ports that opted in to splicing.
    Spliced,
    /// weft on the client's own node, on ports that are declared opaque: past the proxy, by its leave.
    Passed,
    /// A pair of haproxy processes with mTLS between them, on exempt ports; with so many threads, or its default.
    Haproxy {
        /// `nbthread`.
        threads: Option<u8>,
    },
}

/// All of them, in the order of the first repetition.
pub const VARIANTS: [Variant; 8] = [
    Variant { name: "direct", base: "direct", route: Route::Direct(Place::Far) },
    Variant { name: "weft", base: "direct", route: Route::Weft(Place::Far) },
    Variant { name: "haproxy-1", base: "direct", route: Route::Haproxy { threads: Some(1) } },
    Variant { name: "haproxy", base: "direct", route: Route::Haproxy { threads: None } },
    Variant { name: "direct-same-node", base: "direct-same-node", route: Route::Direct(Place::Near) },
    Variant { name: "weft-same-node", base: "direct-same-node", route: Route::Weft(Place::Near) },
    Variant { name: "weft-spliced", base: "direct-same-node", route: Route::Spliced },
    Variant { name: "weft-direct-pass", base: "direct-same-node", route: Route::Passed },
];

impl Variant {
    /// Whether it is what others are compared with.
    pub fn is_base(&self) -> bool {
        self.base == self.name
    }

    /// Whether there are proxies on the way.
    pub fn has_proxies(&self) -> bool {
        !matches!(self.route, Route::Direct(_))
    }
}

impl Route {
    /// Where the server is.
    pub fn place(self) -> Place {
        match self {
            Route::Direct(place) | Route::Weft(place) => place,
            Route::Spliced | Route::Passed => Place::Near,
            Route::Haproxy { .. } => Place::Far,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_is_there_and_its_own_base() {
        for variant in VARIANTS {
            let base = VARIANTS.iter().find(|other| other.name == variant.base).expect("base");
            assert!(base.is_base(), "{}", variant.name);
            assert_eq!(base.route.place(), variant.route.place(), "{}", variant.name);
        }
    }
}
