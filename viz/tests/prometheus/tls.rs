//! A Prometheus behind TLS, with a certificate of an authority that only its users know.

use std::{fs, path::Path, process::Command};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{
    exporter::Exporter,
    process::{Options, Prometheus, Viz, wait_for},
    shop,
};

const CALL: &str = "/api/tps-reports?type=deployment";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn prometheus(proxy: &Exporter, authority: &Authority) -> Prometheus {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Prometheus::start_with_tls(proxy.address(), &certificate.pem(), &key.serialize_pem())
}

fn viz_with(prometheus: &Prometheus, more: Vec<String>) -> Viz {
    Viz::start(Options {
        manifests: shop::MANIFESTS,
        prometheus: Some(format!("https://localhost:{}", prometheus.address.port())),
        more,
        ..Options::default()
    })
}

fn proxy() -> Exporter {
    let exporter = Exporter::start();
    exporter.set_metrics(shop::page(0.0));
    exporter
}

fn option(file: &Path) -> Vec<String> {
    vec![format!("--prometheus-ca={}", file.display())]
}

#[test]
fn the_authority_of_the_file_is_trusted_and_read_again_when_it_changes() {
    let (proxy, folder) = (proxy(), tempfile::tempdir().unwrap());
    let (authority, other) = (authority(), authority());
    let prometheus = prometheus(&proxy, &authority);
    let file = folder.path().join("ca.crt");
    fs::write(&file, authority.pem()).unwrap();
    let viz = viz_with(&prometheus, option(&file));
    wait_for("Prometheus is ready", || viz.get(CALL).status == 200);
    assert_eq!(viz.get(CALL).json()["meta"]["source"], "prometheus");

    fs::write(&file, other.pem()).unwrap();
    wait_for("the other authority vouches for nothing", || viz.get(CALL).status == 503);
    let error = viz.get(CALL).json();
    assert!(error["error"]["message"].as_str().unwrap().contains("certificate"), "{error}");
    // A renewal: for a time, both are there.
    fs::write(&file, other.pem() + &authority.pem()).unwrap();
    wait_for("the renewed file", || viz.get(CALL).status == 200);
}

#[test]
fn without_the_file_only_public_authorities_are_trusted() {
    let proxy = proxy();
    let prometheus = prometheus(&proxy, &authority());
    let viz = viz_with(&prometheus, Vec::new());
    assert_eq!(viz.error(CALL), (503, "prometheus_unavailable".to_owned(), true));
    let error = viz.get(CALL).json();
    assert!(error["error"]["message"].as_str().unwrap().contains("certificate"), "{error}");
}

#[test]
fn a_file_that_cannot_be_used_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "no certificate").unwrap();
    for (url, file, says) in [
        ("https://localhost:1", folder.path().join("absent.pem"), "absent.pem cannot be read"),
        ("https://localhost:1", empty.clone(), "empty.pem has no certificate"),
        ("http://localhost:1", empty, "write https://"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_weft-viz"))
            .args(["web", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--manifests"])
            .arg(folder.path())
            .args(["--prometheus-url", url])
            .args(option(&file))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("prometheus-ca") && text.contains(says), "{text}");
    }
}
