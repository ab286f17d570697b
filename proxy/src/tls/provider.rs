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

/// The ALPN of connections between two weft proxies: they carry the application's bytes unchanged.
pub const ALPN_TCP: &[u8] = b"weft/tcp";

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
