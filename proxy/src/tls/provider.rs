//! The cryptography that weft's connections use.

use std::sync::{Arc, LazyLock};

use rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
};

/// AWS-LC with the suites and groups of the wire contract, in order of preference.
///
/// Linkerd's proxies have the same list, so a connection between the two never falls back to something weaker.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        use aws_lc_rs::{cipher_suite as suite, kx_group as group};
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                suite::TLS13_AES_128_GCM_SHA256,
                suite::TLS13_AES_256_GCM_SHA384,
                suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![group::X25519MLKEM768, group::X25519, group::SECP256R1, group::SECP384R1],
            ..aws_lc_rs::default_provider()
        })
    });
    PROVIDER.clone()
}

/// The labels of the metric `rustls_info`.
pub fn info() -> Vec<(&'static str, String)> {
    let provider = provider();
    let suites: Vec<_> = provider.cipher_suites.iter().map(|s| format!("{:?}", s.suite())).collect();
    let groups: Vec<_> = provider.kx_groups.iter().map(|g| format!("{:?}", g.name())).collect();
    vec![
        ("tls_suites", suites.join(",")),
        ("tls_kx_groups", groups.join(",")),
        ("tls_rand", "aws-lc".to_owned()),
        ("tls_key_provider", "aws-lc".to_owned()),
        ("tls_fips", provider.fips().to_string()),
    ]
}

/// What a connection between two weft proxies carries; agreed on by ALPN, so that the server need not guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inner {
    /// The application's bytes, unchanged.
    Tcp,
    /// HTTP/1.1 messages of one workload, one after the other.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// The client has sent nothing yet: either side's first bytes will tell.
    Unknown,
}

const TCP: &[u8] = b"weft/tcp";
const HTTP1: &[u8] = b"weft/http1";
const HTTP2: &[u8] = b"weft/h2";
const UNKNOWN: &[u8] = b"weft/unknown";

impl Inner {
    /// All, in the server's order of preference.
    pub const ALL: [Self; 4] = [Self::Http2, Self::Http1, Self::Unknown, Self::Tcp];

    /// The name in the TLS extension (RFC 7301).
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Tcp => TCP,
            Self::Http1 => HTTP1,
            Self::Http2 => HTTP2,
            Self::Unknown => UNKNOWN,
        }
    }

    /// What a client offers for it: the server may also take it for bytes that it does not interpret.
    pub fn offered(self) -> &'static [&'static [u8]] {
        match self {
            Self::Tcp => &[TCP],
            Self::Http1 => &[HTTP1, TCP],
            Self::Http2 => &[HTTP2, TCP],
            Self::Unknown => &[UNKNOWN, TCP],
        }
    }

    pub fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|inner| inner.alpn() == name)
    }
}

pub(crate) const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

#[cfg(test)]
mod tests {
    #[test]
    fn suites_and_groups_are_those_of_the_contract() {
        let info: std::collections::HashMap<_, _> = super::info().into_iter().collect();
        let suites = "TLS13_AES_128_GCM_SHA256,TLS13_AES_256_GCM_SHA384,TLS13_CHACHA20_POLY1305_SHA256";
        assert_eq!(info["tls_suites"], suites);
        assert_eq!(info["tls_kx_groups"], "X25519MLKEM768,X25519,secp256r1,secp384r1");
    }
}
