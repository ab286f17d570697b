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
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{WEB, api_server::ApiServer};

/// A certificate with its key.
type Leaf = (CertificateDer<'static>, PrivateKeyDer<'static>);

pub(crate) async fn only_the_front_proxy_names_users(server: &ApiServer, address: SocketAddr) {
    let leaf = |name: &str| leaf(server, name);
    let status = async |leaf: Option<Leaf>, user: &str| ask(address, leaf, user).await;

    assert_eq!(status(None, "bob").await, Some(403), "no certificate");
    assert_eq!(status(Some(foreign("front-proxy-client")), "bob").await, None, "a foreign authority");
    assert_eq!(status(Some(leaf("kubelet")), "bob").await, Some(403), "another name");
    assert_eq!(status(Some(leaf("front-proxy-client")), "").await, Some(403), "nobody is named");
    assert_eq!(status(Some(leaf("front-proxy-client")), "alice").await, Some(403), "no right");
    assert_eq!(status(Some(leaf("front-proxy-client")), "bob").await, Some(200), "the right");
}

pub(crate) async fn one_user_leaves_taps_to_others(server: &ApiServer, address: SocketAddr) {
    let tap = async |user: &str, path: &str| {
        let path = format!("{WEB}?path=/{path}");
        open(address, Some(leaf(server, "front-proxy-client")), user, &path).await.unwrap()
    };
    // Those of the steps before end within a moment.
    let mut taps: Vec<_> = Vec::new();
    for number in 0..40 {
        let (status, stream) = tap("bob", &number.to_string()).await;
        if status != 200 {
            assert_eq!(status, 429);
            break;
        }
        taps.push(stream);
    }
    assert!((8..=16).contains(&taps.len()), "bob has {} taps", taps.len());
    // Another user has room, and who taps the same takes none.
    assert_eq!(tap("dave", "0").await.0, 200);
    assert_eq!(tap("dave", "another").await.0, 200);
}

/// A certificate of the front proxy's authority.
fn leaf(server: &ApiServer, name: &str) -> Leaf {
    let key = KeyPair::from_pem(&fs::read_to_string(server.file("front-proxy-ca-key.pem")).unwrap()).unwrap();
    let pem = fs::read_to_string(server.file("front-proxy-ca.pem")).unwrap();
    let authority = rcgen::Issuer::from_ca_cert_pem(&pem, key).unwrap();
    let (params, key) = client(name);
    let certificate = params.signed_by(&key, &authority).unwrap();
    (certificate.der().clone(), PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
}

/// The status of the answer. `None`: the handshake fails.
async fn ask(address: SocketAddr, leaf: Option<Leaf>, user: &str) -> Option<u16> {
    open(address, leaf, user, WEB).await.map(|(status, _)| status)
}

/// The same, with the connection, on which the tap goes on.
async fn open(
    address: SocketAddr,
    leaf: Option<Leaf>,
    user: &str,
    path: &str,
) -> Option<(u16, TlsStream<TcpStream>)> {
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
        "GET {path} HTTP/1.1\r\nhost: tap\r\nX-Remote-User: {user}\r\nX-Remote-Group: system:authenticated\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.ok()?;
    let status = String::from_utf8_lossy(&head).split(' ').nth(1)?.parse().ok()?;
    Some((status, stream))
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
