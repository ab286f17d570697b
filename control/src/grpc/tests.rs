//! Checks that nothing but TLS with weft-control's own identity is spoken.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;
use weft_api::{
    linkerd::identity::{CertifyRequest, identity_client::IdentityClient},
    secure,
};

use crate::testing::{Running, mesh, within};

fn anchors(running: &Running) -> Vec<u8> {
    std::fs::read(running.state("anchors.pem")).unwrap()
}

#[tokio::test]
async fn plaintext_is_not_answered() {
    let running = Running::start("").await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // A TLS alert, or a reset.
    let _ = within(stream.read_to_end(&mut answer)).await;
    assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    let plain = Endpoint::new(format!("http://{}", running.address)).unwrap().connect_lazy();
    assert!(within(IdentityClient::new(plain).certify(CertifyRequest::default())).await.is_err());
}

#[tokio::test]
async fn clients_accept_only_its_own_identity() {
    let running = Running::start("").await;
    let anchors = anchors(&running);
    let own = mesh().own_identity();
    assert_eq!(own, "weft-control.linkerd.serviceaccount.identity.linkerd.cluster.local");
    assert_eq!(std::fs::read_to_string(running.state("identity")).unwrap(), own);
    assert!(secure::connect(running.address, &anchors, &own).await.is_ok());
    let other = own.replace("weft-control", "web");
    assert!(secure::connect(running.address, &anchors, &other).await.is_err());
    let stranger = Running::start("").await;
    let foreign = std::fs::read(stranger.state("anchors.pem")).unwrap();
    assert!(secure::connect(running.address, &foreign, &own).await.is_err());
}

#[tokio::test]
async fn older_versions_of_tls_and_other_protocols_are_refused() {
    let running = Running::start("").await;
    let connect = async |versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[u8]| {
        let mut roots = RootCertStore::empty();
        for anchor in CertificateDer::pem_slice_iter(&anchors(&running)) {
            roots.add(anchor.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(running.address).await.unwrap();
        let name = secure::server_name(&mesh().own_identity()).unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.map(drop)
    };
    assert!(connect(&[&rustls::version::TLS13], b"h2").await.is_ok());
    assert!(connect(&[&rustls::version::TLS13], b"http/1.1").await.is_err());
    assert!(connect(&[&rustls::version::TLS12], b"h2").await.is_err());
}

#[tokio::test]
async fn unfinished_handshakes_keep_nobody_out() {
    let running = Running::start("").await;
    // More than may be in progress at the same time.
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    let anchors = anchors(&running);
    let connected = tokio::time::timeout(Duration::from_secs(30), async {
        while secure::connect(running.address, &anchors, &mesh().own_identity()).await.is_err() {}
    });
    connected.await.expect("the server gives up on silent clients");
}
