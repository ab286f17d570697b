//! Which peers are accepted, and with which reason others are refused.

use rustls::{AlertDescription, NamedGroup, ProtocolVersion};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const PAST: Duration = Duration::ZERO;

#[tokio::test]
async fn two_workloads_authenticate_each_other() {
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    let (client, server) = pair(&web, &db, &identity("db")).await;
    let (mut client, (mut server, peer)) = (client.unwrap(), server.unwrap());
    let expected = Peer { identity: Some(identity("web")), inner: Some(Inner::Tcp), resumed: false };
    assert_eq!(peer, expected);
    assert_eq!(client.alpn(), Some(Inner::Tcp.alpn()));
    assert!(!client.resumed());
    exchange(&mut client, &mut server).await;
    for stream in [&client, &server] {
        let state = stream.state();
        assert_eq!(state.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let group = state.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        let suite = state.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    }
}

#[tokio::test]
async fn nobody_takes_bytes_for_http_at_an_opaque_port() {
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    let name = identity("db");
    for inner in Inner::ALL {
        for (is_opaque, expected) in [(false, inner), (true, Inner::Tcp)] {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let hello = ClientHello::new(&web, &name, name.as_str(), endpoint(80), inner.offered()).unwrap();
            let client = async {
                let mut stream = hello.secure(near).await.unwrap();
                stream.flush().await.unwrap();
                stream
            };
            let server = async {
                let config = if is_opaque { &db.opaque } else { &db.server };
                accept_with(config, &db, far).await.unwrap()
            };
            let (client, (_server, peer)) = tokio::join!(client, server);
            assert_eq!(peer.inner, Some(expected), "{inner:?}, opaque: {is_opaque}");
            assert_eq!(client.alpn(), Some(expected.alpn()));
        }
    }
}

#[tokio::test]
async fn an_intermediate_certificate_is_accepted_over_tcp() {
    let root = Ca::new("root");
    let issuer = root.intermediate("issuer");
    let credential = |name: &str| {
        let (leaf, key) = issuer.leaf(&[identity(name).as_str()], HOUR);
        Credential::new(identity(name), vec![leaf, issuer.der()], key, &root.anchors()).unwrap()
    };
    let (web, db) = (credential("web"), credential("db"));
    let (near, far) = tcp().await;
    let server = tokio::spawn(async move { accept(&db, far).await });
    let client = tokio::spawn(async move {
        let db = identity("db");
        connect(&web, &db, db.as_str(), endpoint(1), near).await
    });
    let (mut client, (mut server, peer)) = (client.await.unwrap().unwrap(), server.await.unwrap().unwrap());
    assert_eq!(peer.identity, Some(identity("web")));
    exchange(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_foreign_client_is_refused() {
    let (ours, theirs) = (Ca::new("ours"), Ca::new("theirs"));
    let db = ours.credential(identity("db").as_str());
    // It trusts our anchors, so that it continues until the server verifies it.
    let (leaf, key) = theirs.leaf(&[identity("web").as_str()], HOUR);
    let web = Credential::new(identity("web"), vec![leaf], key, &ours.anchors()).unwrap();
    let (client, server) = pair(&web, &db, &identity("db")).await;
    assert_eq!(server.unwrap_err().reason(), "unknown_ca");
    let seen = first_read(&mut client.unwrap()).await;
    assert!(matches!(seen, TlsError::Alert(AlertDescription::UnknownCA)), "{seen:?}");
    assert_eq!(seen.reason(), "alert_unknown_ca");
}

#[tokio::test]
async fn a_foreign_server_is_refused() {
    let (ours, theirs) = (Ca::new("ours"), Ca::new("theirs"));
    let web = ours.credential(identity("web").as_str());
    let db = theirs.credential(identity("db").as_str());
    let (client, server) = pair(&web, &db, &identity("db")).await;
    assert_eq!(client.unwrap_err().reason(), "unknown_ca");
    assert_eq!(server.unwrap_err().reason(), "alert_unknown_ca");
}

#[tokio::test]
async fn expired_certificates_are_refused() {
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    let old_web = custom(&ca, "web", &[identity("web").as_str()], PAST);
    let old_db = custom(&ca, "db", &[identity("db").as_str()], PAST);
    tokio::time::sleep(Duration::from_millis(1100)).await;

    let (client, server) = pair(&old_web, &db, &identity("db")).await;
    assert_eq!(server.unwrap_err().reason(), "expired");
    assert_eq!(first_read(&mut client.unwrap()).await.reason(), "alert_expired");

    let (client, server) = pair(&web, &old_db, &identity("db")).await;
    assert_eq!(client.unwrap_err().reason(), "expired");
    assert_eq!(server.unwrap_err().reason(), "alert_expired");
}

#[tokio::test]
async fn a_server_must_have_exactly_the_expected_name() {
    let ca = Ca::new("root");
    let web = ca.credential(identity("web").as_str());
    let wildcard = "*.default.serviceaccount.identity.linkerd.cluster.local";
    for names in [&[identity("cache").as_str()][..], &[wildcard], &["db.default.svc.cluster.local"], &[]] {
        let db = custom(&ca, "db", names, HOUR);
        let (client, server) = pair(&web, &db, &identity("db")).await;
        let error = client.unwrap_err();
        assert_eq!(error.reason(), "bad_name", "{names:?}: {error}");
        assert_eq!(server.unwrap_err().reason(), "alert_bad_certificate");
    }
    // For a server any of its names will do, not only the first.
    let db = custom(&ca, "db", &["db.default.svc", &identity("db").as_str().to_uppercase()], HOUR);
    pair(&web, &db, &identity("db")).await.0.unwrap();
}

#[tokio::test]
async fn sni_may_differ_from_the_identity() {
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    for (want, reason) in [("db", None), ("cache", Some("bad_name"))] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let want = identity(want);
        let (client, _) =
            tokio::join!(connect(&web, &want, "vm-17.example", endpoint(80), near), accept(&db, far));
        assert_eq!(client.as_ref().err().map(TlsError::reason), reason);
    }
    let (near, _far) = tokio::io::duplex(64 * 1024);
    let bad = connect(&web, &identity("db"), "not a name", endpoint(80), near).await;
    assert_eq!(bad.unwrap_err().reason(), "protocol");
}

#[tokio::test]
async fn a_client_is_identified_by_its_first_name_or_refused() {
    let ca = Ca::new("root");
    let db = ca.credential(identity("db").as_str());
    let web = custom(&ca, "web", &[identity("web").as_str(), identity("cache").as_str()], HOUR);
    let (_client, server) = pair(&web, &db, &identity("db")).await;
    assert_eq!(server.unwrap().1.identity, Some(identity("web")));
    for names in [&[][..], &["*.default.serviceaccount.identity.linkerd.cluster.local"], &["10.0.0.1"]] {
        let web = custom(&ca, "web", names, HOUR);
        let (client, server) = pair(&web, &db, &identity("db")).await;
        assert_eq!(server.unwrap_err().reason(), "bad_name", "{names:?}");
        assert_eq!(first_read(&mut client.unwrap()).await.reason(), "closed");
    }
}

/// A client like Linkerd's or curl: no certificate, no ALPN.
fn bare(ca: &Ca) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.der()).unwrap();
    rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn accept_bare(config: rustls::ClientConfig, db: &Credential) -> Result<Peer, TlsError> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from(db.identity.to_string()).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let (client, server) = tokio::join!(connector.connect(name, near), accept(db, far));
    let (mut server, peer) = server?;
    let mut client = client.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    Ok(peer)
}

#[tokio::test]
async fn a_client_without_certificate_and_alpn_is_accepted() {
    let ca = Ca::new("root");
    let db = ca.credential(identity("db").as_str());
    let peer = accept_bare(bare(&ca), &db).await.unwrap();
    assert_eq!(peer, Peer { identity: None, inner: None, resumed: false });
}

#[tokio::test]
async fn a_peer_with_classical_groups_only_is_served() {
    let ca = Ca::new("root");
    let db = ca.credential(identity("db").as_str());
    for group in [rustls::crypto::aws_lc_rs::kx_group::X25519, rustls::crypto::aws_lc_rs::kx_group::SECP384R1]
    {
        let mut provider = (*provider()).clone();
        provider.kx_groups = vec![group];
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        accept_bare(config, &db).await.unwrap();
    }
}

#[tokio::test]
async fn fragmented_hellos_are_accepted() {
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    // A pipe that holds 7 bytes cuts everything into pieces of 7.
    let (near, far) = tokio::io::duplex(7);
    let name = identity("db");
    let (client, server) =
        tokio::join!(connect(&web, &name, name.as_str(), endpoint(80), near), accept(&db, far));
    let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
    tokio::join!(
        async {
            client.write_all(b"ping").await.unwrap();
            client.flush().await.unwrap();
        },
        async { assert_eq!(server.read_u32().await.unwrap().to_be_bytes(), *b"ping") },
    );
}

#[tokio::test]
async fn garbage_is_an_error_and_silence_waits() {
    let ca = Ca::new("root");
    let db = ca.credential(identity("db").as_str());
    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\nHost: db\r\n\r\n"[..], "protocol"),
        (&[0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff], "protocol"),
        (&[0x16, 3, 1], "closed"),
        (&[], "closed"),
    ] {
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        near.write_all(bytes).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(accept(&db, far).await.unwrap_err().reason(), reason, "{bytes:?}");
    }
    let (_near, far) = tokio::io::duplex(64);
    let silent = tokio::time::timeout(Duration::from_millis(50), accept(&db, far)).await;
    assert!(silent.is_err(), "the caller bounds the time");
}
