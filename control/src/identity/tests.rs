//! Checks who is issued certificates, and that they can be verified.

mod api_server;
mod mounted;
mod reviews;

use std::{fs, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use time::OffsetDateTime;
use tonic::Code;
use weft_api::{
    linkerd::identity::{CertifyRequest, CertifyResponse},
    node::{WatchRequest, update::Kind},
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{
    csr,
    issuer::{Issuer, IssuerError, Pem},
};
use crate::testing::{Running, bearer, within};

const IDENTITY: &str = "web.demo.serviceaccount.identity.linkerd.cluster.local";
const CLUSTER: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: demo, annotations: {linkerd.io/inject: enabled}},
 spec: {nodeName: one, serviceAccountName: web}}
---
{apiVersion: v1, kind: Pod, metadata: {name: host, namespace: demo, annotations: {linkerd.io/inject: enabled}},
 spec: {nodeName: one, serviceAccountName: host, hostNetwork: true}}
---
{apiVersion: v1, kind: Pod, metadata: {name: plain, namespace: demo},
 spec: {nodeName: one, serviceAccountName: plain}}
---
{apiVersion: v1, kind: Pod, metadata: {name: far, namespace: demo, annotations: {linkerd.io/inject: enabled}},
 spec: {nodeName: two, serviceAccountName: far}}
"#;

fn request(names: &[&str]) -> Vec<u8> {
    request_with(names, &KeyPair::generate().unwrap(), |_| {})
}

fn request_with(names: &[&str], key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    change(&mut params);
    params.serialize_request(key).unwrap().der().to_vec()
}

async fn certify(
    running: &Running,
    identity: &str,
    token: &str,
    csr: Vec<u8>,
) -> Result<CertifyResponse, (Code, String)> {
    let message = CertifyRequest {
        identity: identity.into(),
        token: token.as_bytes().to_vec(),
        certificate_signing_request: csr,
    };
    let answer = within(running.identity().certify(message)).await;
    answer.map(|answer| answer.into_inner()).map_err(|status| (status.code(), status.message().to_owned()))
}

fn verify(response: &CertifyResponse, anchors: &[u8]) -> Result<(), webpki::Error> {
    let anchors: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(anchors).map(Result::unwrap).collect();
    let anchors: Vec<_> =
        anchors.iter().map(|anchor| webpki::anchor_from_trusted_cert(anchor).unwrap()).collect();
    let chain: Vec<_> =
        response.intermediate_certificates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let leaf = CertificateDer::from(response.leaf_certificate.as_slice());
    let leaf = webpki::EndEntityCert::try_from(&leaf)?;
    for usage in [webpki::KeyUsage::client_auth(), webpki::KeyUsage::server_auth()] {
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &chain,
            UnixTime::now(),
            usage,
            None,
            None,
        )?;
    }
    leaf.verify_is_valid_for_subject_name(&IDENTITY.try_into().unwrap())
}

#[tokio::test]
async fn a_certificate_conforms_to_the_wire_contract() {
    let running = Running::start(CLUSTER).await;
    let response = certify(&running, IDENTITY, &running.token("one"), request(&[IDENTITY])).await.unwrap();
    verify(&response, &fs::read(running.state("anchors.pem")).unwrap()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&response.leaf_certificate).unwrap();
    let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert!(matches!(names[..], [GeneralName::DNSName(IDENTITY)]), "{names:?}");
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let (from, until) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    assert!((now - 25..=now - 20).contains(&from), "{from} {now}");
    assert!((now + 3615..=now + 3620).contains(&until), "{until} {now}");
    assert_eq!(response.valid_until.unwrap().seconds, until);
    assert!(!leaf.is_ca());
}

#[tokio::test]
async fn only_the_node_of_a_meshed_pod_gets_its_certificate() {
    let running = Running::start(CLUSTER).await;
    let (one, two) = (running.token("one"), running.token("two"));
    for (identity, token, code, text) in [
        (
            IDENTITY,
            two.as_str(),
            Code::PermissionDenied,
            "node two has no meshed pod with service account demo/web",
        ),
        (IDENTITY, "", Code::InvalidArgument, "token is missing"),
        (IDENTITY, &one[1..], Code::Unauthenticated, "the token does not belong to any node"),
        (&IDENTITY.replace("web", "far"), &one, Code::PermissionDenied, "demo/far"),
        (&IDENTITY.replace("web", "host"), &one, Code::PermissionDenied, "demo/host"),
        (&IDENTITY.replace("web", "plain"), &one, Code::PermissionDenied, "demo/plain"),
        (&IDENTITY.replace("demo", "other"), &one, Code::PermissionDenied, "other/web"),
        (
            &IDENTITY.replace("cluster.local", "else.where"),
            &one,
            Code::InvalidArgument,
            "not an identity of this mesh",
        ),
        (&IDENTITY.replace("web", "WEB"), &one, Code::InvalidArgument, "not an identity of this mesh"),
    ] {
        let refused = certify(&running, identity, token, request(&[identity])).await.unwrap_err();
        assert_eq!(refused.0, code, "{refused:?}");
        assert!(refused.1.contains(text), "{refused:?}");
        assert!(!refused.1.contains(&one));
    }
    assert!(certify(&running, IDENTITY, &format!("{one}\n"), request(&[IDENTITY])).await.is_ok());
}

#[tokio::test]
async fn a_node_proxy_gets_its_own_identity_and_nobody_else_does() {
    let running = Running::start(CLUSTER).await;
    let proxy = "weft-proxy.linkerd.serviceaccount.identity.linkerd.cluster.local";
    for node in ["one", "two"] {
        assert!(certify(&running, proxy, &running.token(node), request(&[proxy])).await.is_ok());
    }
    let viz = running.token("viz");
    let tap = "tap.weft-viz.serviceaccount.identity.linkerd.cluster.local";
    assert!(certify(&running, tap, &viz, request(&[tap])).await.is_ok());
    let one = running.token("one");
    let control = "weft-control.linkerd.serviceaccount.identity.linkerd.cluster.local";
    for (identity, token, text) in [
        (proxy, &viz, "may not have the identity"),
        (IDENTITY, &viz, "may not have the identity"),
        (tap, &one, "no meshed pod with service account weft-viz/tap"),
        (&proxy.replacen("linkerd.", "demo.", 1), &one, "no meshed pod with service account demo/weft-proxy"),
        (control, &one, "issues it to itself only"),
        (control, &viz, "issues it to itself only"),
    ] {
        let refused = certify(&running, identity, token, request(&[identity])).await.unwrap_err();
        assert_eq!(refused.0, Code::PermissionDenied, "{refused:?}");
        assert!(refused.1.contains(text), "{refused:?}");
    }
}

#[test]
fn a_request_names_the_identity_and_nothing_else() {
    let with = |names: &[&str], change: fn(&mut CertificateParams)| {
        csr::public_key(&request_with(names, &KeyPair::generate().unwrap(), change), IDENTITY)
    };
    assert!(with(&[IDENTITY], |_| {}).is_ok());
    assert!(with(&[IDENTITY], |params| params.distinguished_name.push(DnType::CommonName, IDENTITY)).is_ok());
    assert!(with(&[], |_| {}).is_err());
    assert!(with(&["other.demo"], |_| {}).is_err());
    assert!(with(&[IDENTITY, "other.demo"], |_| {}).is_err());
    assert!(with(&[IDENTITY, IDENTITY], |_| {}).is_err());
    assert!(with(&[IDENTITY, "10.0.0.1"], |_| {}).is_err());
    let with_uri = with(&[IDENTITY], |params| {
        params.subject_alt_names.push(SanType::URI("spiffe://x/y".try_into().unwrap()));
    });
    assert!(with_uri.is_err());
    assert!(with(&[IDENTITY], |params| params.distinguished_name.push(DnType::CommonName, "x")).is_err());
    assert!(
        with(&[IDENTITY], |params| params.distinguished_name.push(DnType::OrganizationName, "x")).is_err()
    );
}

#[test]
fn a_request_proves_a_p256_key() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let refused = csr::public_key(&request_with(&[IDENTITY], &key, |_| {}), IDENTITY).unwrap_err();
        assert!(matches!(refused, csr::CsrError::Key), "{refused}");
    }
    let mut forged = request(&[IDENTITY]);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(csr::public_key(&forged, IDENTITY).is_err());
    let mut longer = request(&[IDENTITY]);
    longer.push(0);
    assert!(csr::public_key(&longer, IDENTITY).is_err());
    assert!(csr::public_key(b"", IDENTITY).is_err());
}

struct Ca {
    anchors: String,
    issuer: String,
    key: String,
}

fn ca(algorithm: &'static SignatureAlgorithm, lifetime: Duration) -> Ca {
    let params = |name: &str, until: Duration| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(60);
        params.not_after = OffsetDateTime::now_utc() + until;
        params
    };
    let root_key = KeyPair::generate_for(algorithm).unwrap();
    let root = CertifiedIssuer::self_signed(params("root", Duration::from_secs(7200)), root_key).unwrap();
    let key = KeyPair::generate_for(algorithm).unwrap();
    let issuer = params("issuer", lifetime).signed_by(&key, &root).unwrap();
    Ca { anchors: root.pem(), issuer: issuer.pem(), key: key.serialize_pem() }
}

fn read(anchors: &str, issuer: &str, key: &str) -> Result<Issuer, IssuerError> {
    let pem = Pem {
        anchors: ("anchors.pem", anchors.as_bytes()),
        chain: ("issuer.pem", issuer.as_bytes()),
        key: ("issuer-key.pem", key.as_bytes()),
    };
    Issuer::read(&pem, Duration::from_secs(20))
}

#[test]
fn issuers_with_any_key_work_and_limit_their_certificates() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let ca = ca(algorithm, Duration::from_secs(60));
        let issuer = read(&ca.anchors, &ca.issuer, &ca.key).unwrap();
        let key = KeyPair::generate().unwrap();
        let now = OffsetDateTime::now_utc();
        let leaf = issuer.sign(IDENTITY, &key, Duration::from_secs(3600), now).unwrap();
        assert_eq!(leaf.expires, issuer.expires());
        let late = issuer.sign(IDENTITY, &key, Duration::from_secs(1), now + Duration::from_secs(61));
        assert!(matches!(late, Err(IssuerError::Expired(_))));
        assert!(!key.der_bytes().is_empty());
    }
}

#[test]
fn issuers_that_do_not_match_are_refused() {
    let hour = Duration::from_secs(3600);
    let (mine, other) = (ca(&rcgen::PKCS_ECDSA_P256_SHA256, hour), ca(&rcgen::PKCS_ECDSA_P256_SHA256, hour));
    assert!(matches!(read(&other.anchors, &mine.issuer, &mine.key), Err(IssuerError::NotTrusted { .. })));
    assert!(matches!(read(&mine.anchors, &mine.issuer, &other.key), Err(IssuerError::OtherKey { .. })));
    assert!(
        matches!(read("", &mine.issuer, &mine.key), Err(IssuerError::Empty(file)) if file == "anchors.pem")
    );
    assert!(
        matches!(read(&mine.anchors, "x", &mine.key), Err(IssuerError::Empty(file)) if file == "issuer.pem")
    );
    assert!(matches!(read(&mine.anchors, &mine.issuer, "x"), Err(IssuerError::Pem { .. })));
    // During a rotation both roots are trusted.
    assert!(read(&format!("{}{}", other.anchors, mine.anchors), &mine.issuer, &mine.key).is_ok());
}

#[tokio::test]
async fn a_new_issuer_is_loaded_and_a_broken_one_is_not() {
    let running = Running::start(CLUSTER).await;
    let token = running.token("one");
    let new = ca(&rcgen::PKCS_ECDSA_P256_SHA256, Duration::from_secs(3000));
    let old_anchors = fs::read_to_string(running.state("anchors.pem")).unwrap();
    fs::write(running.state("issuer.pem"), "broken").unwrap();
    let refused = async {
        while !page(running.admin, "/metrics").await.contains("weft_control_issuer_reload_errors_total 1") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(refused).await;
    let response = certify(&running, IDENTITY, &token, request(&[IDENTITY])).await.unwrap();
    verify(&response, old_anchors.as_bytes()).unwrap();

    fs::write(running.state("anchors.pem"), format!("{old_anchors}{}", new.anchors)).unwrap();
    fs::write(running.state("issuer-key.pem"), &new.key).unwrap();
    fs::write(running.state("issuer.pem"), &new.issuer).unwrap();
    let taken = async {
        loop {
            let response = certify(&running, IDENTITY, &token, request(&[IDENTITY])).await.unwrap();
            if verify(&response, new.anchors.as_bytes()).is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(taken).await;
}

#[tokio::test]
async fn proxies_are_told_the_issuer_and_every_later_one() {
    let running = Running::start(CLUSTER).await;
    let watch = WatchRequest { node: "one".into(), ..WatchRequest::default() };
    let watch = bearer(watch, &running.token("one"));
    let mut updates = running.node().watch(watch).await.unwrap().into_inner();
    let first = within(updates.message()).await.unwrap().unwrap().kind;
    let Some(Kind::Snapshot(snapshot)) = first else { panic!("{first:?}") };
    // It is the one that follows the pod's own certificate in answers.
    let answer = certify(&running, IDENTITY, &running.token("one"), request(&[IDENTITY])).await.unwrap();
    assert_eq!(snapshot.issuer.unwrap().certificate, answer.intermediate_certificates[0]);

    let new = ca(&rcgen::PKCS_ECDSA_P256_SHA256, Duration::from_secs(3000));
    let anchors = fs::read_to_string(running.state("anchors.pem")).unwrap() + &new.anchors;
    for (file, text) in [("anchors.pem", &anchors), ("issuer-key.pem", &new.key), ("issuer.pem", &new.issuer)]
    {
        fs::write(running.state(file), text).unwrap();
    }
    let second = within(updates.message()).await.unwrap().unwrap().kind;
    let Some(Kind::Issuer(issuer)) = second else { panic!("{second:?}") };
    let wanted = CertificateDer::from_pem_slice(new.issuer.as_bytes()).unwrap();
    assert_eq!(issuer.certificate, wanted.as_ref());
}

#[tokio::test]
async fn an_incomplete_authority_is_an_error_that_says_what_to_do() {
    let running = Running::start(CLUSTER).await;
    let dir = running.stop().await;
    fs::remove_file(dir.path().join("state/issuer-key.pem")).unwrap();
    let error = crate::Control::start(crate::testing::config(&dir)).await.unwrap_err().to_string();
    assert!(error.contains("issuer-key.pem is missing: put it there, or remove"), "{error}");
}

/// A page of the admin server.
async fn page(admin: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
