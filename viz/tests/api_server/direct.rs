//! Requests that do not come through the API server.

use std::{fs, net::SocketAddr, sync::Arc};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{WEB, api_server::ApiServer};

/// A certificate with its key.
type Leaf = (CertificateDer<'static>, PrivateKeyDer<'static>);

pub(crate) async fn only_the_front_proxy_names_users(server: &ApiServer, address: SocketAddr) {
    let authority = |key: &str, certificate: &str| {
        let key = KeyPair::from_pem(&fs::read_to_string(server.file(key)).unwrap()).unwrap();
        let pem = fs::read_to_string(server.file(certificate)).unwrap();
        rcgen::Issuer::from_ca_cert_pem(&pem, key).unwrap()
    };
    let front_proxy = authority("front-proxy-ca-key.pem", "front-proxy-ca.pem");
    let leaf = |name: &str| {
        let (params, key) = client(name);
        let certificate = params.signed_by(&key, &front_proxy).unwrap();
        (certificate.der().clone(), PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
    };
    let status = async |leaf: Option<Leaf>, user: &str| ask(address, leaf, user).await;

    assert_eq!(status(None, "bob").await, Some(403), "no certificate");
    assert_eq!(status(Some(foreign("front-proxy-client")), "bob").await, None, "a foreign authority");
    assert_eq!(status(Some(leaf("kubelet")), "bob").await, Some(403), "another name");
    assert_eq!(status(Some(leaf("front-proxy-client")), "").await, Some(403), "nobody is named");
    assert_eq!(status(Some(leaf("front-proxy-client")), "alice").await, Some(403), "no right");
    assert_eq!(status(Some(leaf("front-proxy-client")), "bob").await, Some(200), "the right");
}

/// The status of the answer. `None`: the handshake fails.
async fn ask(address: SocketAddr, leaf: Option<Leaf>, user: &str) -> Option<u16> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let config = match leaf {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("tap.weft-viz.svc").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let request = format!(
        "GET {WEB} HTTP/1.1\r\nhost: tap\r\nX-Remote-User: {user}\r\nX-Remote-Group: system:authenticated\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.ok()?;
    String::from_utf8_lossy(&head).split(' ').nth(1)?.parse().ok()
}

fn client(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params, KeyPair::generate().unwrap())
}

fn foreign(name: &str) -> Leaf {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.distinguished_name.push(DnType::CommonName, "front-proxy-ca");
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let (params, key) = client(name);
    let certificate = params.signed_by(&key, &root).unwrap();
    (certificate.der().clone(), PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
}

/// Attackers do not care whom they talk to.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
