//! Checks what is said about certificates that the API server would not accept.

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use time::{Duration, OffsetDateTime};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::certificates::{Authority, create};

const HOST: &str = "weft-policy-validator.weft.svc";

fn authority() -> Authority {
    create("weft", "cluster.local").unwrap()
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A webhook's answer to a handshake, with a certificate for this name that is valid in these hours from now.
async fn answer(authority: &Authority, name: &str, hours: [i64; 2], stream: tokio::io::DuplexStream) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let now = OffsetDateTime::now_utc();
    [params.not_before, params.not_after] = hours.map(|hours| now + Duration::hours(hours));
    let issuer_key = KeyPair::from_pem(&authority.key).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&authority.issuer, issuer_key).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap().der().clone();
    let chain = vec![leaf, certificate(&authority.issuer)];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    // A client that refuses the certificate ends the handshake.
    let _ = TlsAcceptor::from(Arc::new(config)).accept(stream).await;
}

async fn verified(shown: &Authority, name: &str, hours: [i64; 2], trusted: &Authority) -> Result<(), String> {
    let verifier = Verifier::new(vec![certificate(&trusted.anchors)], "weft").unwrap();
    let (client, server) = tokio::io::duplex(64 << 10);
    let (result, ()) =
        tokio::join!(verifier.verify("weft-control-1", client), answer(shown, name, hours, server));
    result.map_err(|error| error.to_string())
}

fn refused(result: Result<(), String>, why: &str) {
    let error = result.unwrap_err();
    let begins = format!("the webhook of the pod weft-control-1 is not what {HOST} should be: ");
    assert!(error.starts_with(&begins) && error.contains(why), "{why:?} is not in {error:?}");
}

#[tokio::test]
async fn a_certificate_of_the_mesh_for_the_webhooks_name_is_accepted() {
    let mesh = authority();
    assert_eq!(verified(&mesh, HOST, [-1, 1], &mesh).await, Ok(()));
}

#[tokio::test]
async fn an_expired_certificate_is_called_expired() {
    let mesh = authority();
    refused(verified(&mesh, HOST, [-2, -1], &mesh).await, "has expired; weft-control renews it by itself");
}

#[tokio::test]
async fn a_certificate_of_the_future_has_the_clocks_compared() {
    let mesh = authority();
    refused(verified(&mesh, HOST, [1, 2], &mesh).await, "is not valid yet; compare the clocks");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let mesh = authority();
    let other = "weft-policy-validator.elsewhere.svc";
    refused(verified(&mesh, other, [-1, 1], &mesh).await, "is for another name");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (mesh, other) = (authority(), authority());
    refused(verified(&other, HOST, [-1, 1], &mesh).await, "no trust anchor of the mesh has signed");
}

#[tokio::test]
async fn a_server_without_tls_is_no_webhook() {
    let verifier = Verifier::new(vec![certificate(&authority().anchors)], "weft").unwrap();
    let (client, mut server) = tokio::io::duplex(64 << 10);
    let plain = async {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut server, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    };
    let (result, ()) = tokio::join!(verifier.verify("weft-control-1", client), plain);
    refused(result.map_err(|error| error.to_string()), "does not speak TLS");
}
