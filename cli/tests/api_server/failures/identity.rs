//! Certificates that are of no use.

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::{DEFAULT, Failure, PROXY};
use crate::{lab::Lab, objects};

pub(crate) const FAILURES: &[Failure] = &[
    failure(
        "no_issuer_key",
        "certificate config is valid",
        &["the Secret \"weft-identity-issuer\" has no key.pem"],
        "weft-identity-cert-config-valid",
        |lab| {
            lab.patch(&["-n", "weft", "secret/weft-identity-issuer"], &json!({ "data": { "key.pem": null } }))
        },
    ),
    failure(
        "trust_anchors_that_are_no_certificates",
        "certificate config is valid",
        &["ca-bundle.crt in the ConfigMap \"weft-identity-trust-roots\"", "no certificate"],
        "weft-identity-cert-config-valid",
        |lab| roots(lab, "nothing"),
    ),
    failure(
        "a_key_of_another_issuer",
        "certificate config is valid",
        &["key.pem in the Secret \"weft-identity-issuer\" does not belong to crt.pem"],
        "weft-identity-cert-config-valid",
        |lab| {
            let key = KeyPair::generate().unwrap().serialize_pem();
            lab.patch(
                &["-n", "weft", "secret/weft-identity-issuer"],
                &json!({ "data": { "key.pem": base64(&key) } }),
            );
        },
    ),
    failure(
        "a_trust_anchor_with_another_algorithm",
        "trust anchors are using supported crypto algorithm",
        &["must use P-256 for its key, but uses a curve of 384 bits"],
        "weft-identity-trustAnchors-use-supported-crypto",
        |lab| {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
            roots(lab, &CertifiedIssuer::self_signed(parameters("root", -1, 365), key).unwrap().pem());
        },
    ),
    failure(
        "an_expired_trust_anchor",
        "trust anchors are within their validity period",
        &["not valid anymore. Expired on"],
        "weft-identity-trustAnchors-are-time-valid",
        |lab| roots(lab, &root(-1).pem()),
    ),
    failure(
        "a_trust_anchor_that_is_not_valid_yet",
        "trust anchors are within their validity period",
        &["not valid before:"],
        "weft-identity-trustAnchors-are-time-valid",
        |lab| {
            let key = KeyPair::generate().unwrap();
            roots(lab, &CertifiedIssuer::self_signed(parameters("root", 1, 365), key).unwrap().pem());
        },
    ),
    Failure {
        result: "warning",
        ..failure(
            "a_trust_anchor_that_expires_soon",
            "trust anchors are valid for at least 60 days",
            &["root will expire on"],
            "weft-identity-trustAnchors-not-expiring-soon",
            |lab| roots(lab, &root(30).pem()),
        )
    },
    failure(
        "an_issuer_with_another_algorithm",
        "issuer cert is using supported crypto algorithm",
        &["must use P-256 for its key, but uses a curve of 384 bits"],
        "weft-identity-issuer-cert-uses-supported-crypto",
        |lab| {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
            let issuer = CertifiedIssuer::self_signed(parameters("issuer", -1, 365), &key).unwrap().pem();
            set_issuer(lab, &issuer, &key);
        },
    ),
    failure(
        "an_expired_issuer",
        "issuer cert is within its validity period",
        &["issuer not valid anymore. Expired on"],
        "weft-identity-issuer-cert-is-time-valid",
        |lab| issuer(lab, -1),
    ),
    Failure {
        result: "warning",
        ..failure(
            "an_issuer_that_expires_soon",
            "issuer cert is valid for at least 60 days",
            &["issuer will expire on"],
            "weft-identity-issuer-cert-not-expiring-soon",
            |lab| issuer(lab, 30),
        )
    },
    failure(
        "an_issuer_of_another_authority",
        "issuer cert is issued by the trust anchor",
        &["issuer is issued by root, which is none of the trust anchors (root.weft.cluster.local)"],
        "weft-identity-issuer-cert-issued-by-trust-anchor",
        |lab| issuer(lab, 365),
    ),
    Failure {
        name: "a_workload_with_an_expired_certificate",
        options: PROXY,
        description: "data plane proxies have valid certificates",
        result: "warning",
        says: &[
            "demo/web: the certificate of default.demo.serviceaccount.identity.weft.cluster.local has expired",
        ],
        anchor: "weft-identity-data-plane-proxies-certs-valid",
        healthy: None,
        break_it: |lab| {
            let mut config = objects::config("web");
            config["certificates"]["default.demo.serviceaccount.identity.weft.cluster.local"]["expires"] =
                json!(1);
            lab.page(0, &config, objects::METRICS);
        },
        mend_it: objects::healthy_pages,
    },
    Failure {
        name: "a_workload_without_a_certificate",
        options: PROXY,
        description: "data plane proxies have valid certificates",
        result: "warning",
        says: &["demo/web: the proxy has no certificate of default.demo"],
        anchor: "weft-identity-data-plane-proxies-certs-valid",
        healthy: None,
        break_it: |lab| {
            let mut config = objects::config("web");
            config["certificates"] = json!({});
            lab.page(0, &config, objects::METRICS);
        },
        mend_it: objects::healthy_pages,
    },
    Failure {
        name: "a_proxy_that_does_not_have_the_new_trust_anchor",
        options: PROXY,
        description: "data plane proxies have the current trust anchors",
        result: "warning",
        says: &[
            "do not change the issuer yet",
            "n1: its proxy does not have ",
            "root.weft.cluster.local yet",
            "n1: its proxy still has ",
        ],
        anchor: "weft-identity-data-plane-trust-anchors",
        healthy: None,
        break_it: |lab| {
            let mut page = objects::certificates(lab, "web");
            page["trust_anchors"] = json!([root(365).pem()]);
            lab.certificates(0, &page);
        },
        mend_it: objects::healthy_pages,
    },
    Failure {
        name: "a_proxy_that_does_not_show_its_trust_anchors",
        options: PROXY,
        description: "data plane proxies have the current trust anchors",
        result: "warning",
        says: &["n2: its proxy does not show its trust anchors: it is of an earlier version"],
        anchor: "weft-identity-data-plane-trust-anchors",
        healthy: None,
        break_it: |lab| lab.certificates(1, &json!({ "workloads": {} })),
        mend_it: objects::healthy_pages,
    },
    Failure {
        name: "a_workload_with_a_certificate_of_an_earlier_issuer",
        options: PROXY,
        description: "data plane certificates are of the current issuer",
        result: "warning",
        says: &["do not remove a trust anchor yet", "demo/web: its certificate is signed by ", " earlier"],
        anchor: "weft-identity-data-plane-issuer",
        healthy: None,
        break_it: |lab| {
            let mut page = objects::certificates(lab, "web");
            let earlier =
                CertifiedIssuer::self_signed(parameters("earlier", -1, 1), KeyPair::generate().unwrap());
            page["workloads"]["demo/web"]["certificates"][1] = json!(earlier.unwrap().pem());
            lab.certificates(0, &page);
        },
        mend_it: objects::healthy_pages,
    },
];

const fn failure(
    name: &'static str,
    description: &'static str,
    says: &'static [&'static str],
    anchor: &'static str,
    break_it: fn(&Lab),
) -> Failure {
    Failure {
        name,
        options: DEFAULT,
        description,
        result: "error",
        says,
        anchor,
        healthy: None,
        break_it,
        mend_it: restore,
    }
}

/// Applies the certificates of the installation again.
fn restore(lab: &Lab) {
    lab.kubectl(&["replace", "-f", &lab.path(objects::IDENTITY)], "");
}

pub(crate) fn root(days: i64) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::self_signed(parameters("root", days.min(0) - 1, days), KeyPair::generate().unwrap())
        .unwrap()
}

fn parameters(name: &str, from: i64, to: i64) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = now + Duration::days(from);
    params.not_after = now + Duration::days(to);
    params
}

fn roots(lab: &Lab, pem: &str) {
    lab.patch(
        &["-n", "weft", "configmap/weft-identity-trust-roots"],
        &json!({ "data": { "ca-bundle.crt": pem } }),
    );
}

/// An issuer whose authority is none of the trust anchors.
fn issuer(lab: &Lab, days: i64) {
    let key = KeyPair::generate().unwrap();
    let certificate = parameters("issuer", days.min(0) - 1, days).signed_by(&key, &root(365)).unwrap();
    set_issuer(lab, &certificate.pem(), &key);
}

fn set_issuer(lab: &Lab, pem: &str, key: &KeyPair) {
    let data = json!({ "crt.pem": base64(pem), "key.pem": base64(&key.serialize_pem()) });
    lab.patch(&["-n", "weft", "secret/weft-identity-issuer"], &json!({ "data": data }));
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}
