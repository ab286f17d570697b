//! The protocol of a port, as a Server declares it.

use std::str::FromStr;

/// A protocol that a Server declares. The names are Linkerd's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The proxy detects it.
    #[default]
    Unknown,
    /// The proxy must not interpret the bytes.
    Opaque,
    Http1,
    Http2,
    Grpc,
    /// The application's own TLS.
    Tls,
}

const NAMES: [(&str, Protocol); 6] = [
    ("unknown", Protocol::Unknown),
    ("opaque", Protocol::Opaque),
    ("TLS", Protocol::Tls),
    ("HTTP/1", Protocol::Http1),
    ("HTTP/2", Protocol::Http2),
    ("gRPC", Protocol::Grpc),
];

impl Protocol {
    /// The names of all protocols, for error texts.
    pub fn names() -> String {
        NAMES.map(|(name, _)| name).join(", ")
    }
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, protocol)| *protocol).ok_or(())
    }
}
