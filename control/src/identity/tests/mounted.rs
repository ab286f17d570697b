//! Checks issuers in mounted folders: both kinds of Secret, and how they are replaced.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{
    super::{AuthorityConfig, CertificateAuthority, OwnCertificate},
    Ca, ca,
};
use crate::{
    metrics::Metrics,
    testing::{mesh, within},
};

/// A folder as the kubelet mounts a Secret: files are links into `..data`, a link to the current version.
struct Secret {
    dir: TempDir,
    versions: usize,
}

impl Secret {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut secret = Self { dir: TempDir::new().unwrap(), versions: 0 };
        secret.replace(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), secret.dir.path().join(name)).unwrap();
        }
        secret
    }

    fn replace(&mut self, files: &[(&str, &str)]) {
        self.versions += 1;
        let version = format!("..version-{}", self.versions);
        let folder = self.dir.path().join(&version);
        fs::create_dir(&folder).unwrap();
        for (name, content) in files {
            fs::write(folder.join(name), content).unwrap();
        }
        let temporary = self.dir.path().join("..data_tmp");
        symlink(&version, &temporary).unwrap();
        fs::rename(&temporary, self.dir.path().join("..data")).unwrap();
    }
}

fn new_ca() -> Ca {
    ca(&rcgen::PKCS_ECDSA_P256_SHA256, Duration::from_secs(3000))
}

fn config(secret: &Secret, anchors: Option<&Path>) -> AuthorityConfig {
    AuthorityConfig {
        issuer_dir: Some(secret.dir.path().to_owned()),
        trust_anchors_file: anchors.map(Path::to_owned),
        lifetime: Duration::from_secs(600),
        clock_skew: Duration::from_secs(20),
    }
}

fn open(config: &AuthorityConfig, metrics: &Metrics) -> Result<Arc<CertificateAuthority>, String> {
    let unused = Path::new("/nonexistent");
    CertificateAuthority::open(config, unused, &mesh(), metrics.clone())
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

#[test]
fn both_kinds_of_secret_hold_an_issuer() {
    let ca = new_ca();
    let metrics = Metrics::new();
    let kubernetes = Secret::new(&[("tls.crt", &ca.issuer), ("tls.key", &ca.key), ("ca.crt", &ca.anchors)]);
    open(&config(&kubernetes, None), &metrics).unwrap();
    let linkerd = Secret::new(&[("crt.pem", &ca.issuer), ("key.pem", &ca.key)]);
    let anchors = linkerd.dir.path().join("ca-bundle.crt");
    fs::write(&anchors, &ca.anchors).unwrap();
    open(&config(&linkerd, Some(&anchors)), &metrics).unwrap();
    for metric in ["issuer_expiration", "trust_anchor_expiration"] {
        let line = format!("weft_control_{metric}_timestamp_seconds 0.0");
        assert!(!metrics.text().contains(&line), "{line}");
    }
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let ca = new_ca();
    let metrics = Metrics::new();
    let error = |secret: &Secret| open(&config(secret, None), &metrics).unwrap_err();
    let empty = Secret::new(&[]);
    assert!(error(&empty).contains("holds no issuer: put tls.crt and tls.key there"), "{}", error(&empty));
    let no_anchors = Secret::new(&[("crt.pem", &ca.issuer), ("key.pem", &ca.key)]);
    assert!(error(&no_anchors).contains("set --identity-trust-anchors-file"), "{}", error(&no_anchors));
    let no_key = Secret::new(&[("tls.crt", &ca.issuer), ("ca.crt", &ca.anchors)]);
    assert!(error(&no_key).contains("tls.key"), "{}", error(&no_key));
    let other = new_ca();
    let mixed = Secret::new(&[("tls.crt", &ca.issuer), ("tls.key", &other.key), ("ca.crt", &ca.anchors)]);
    assert!(error(&mixed).contains("tls.key is not the key of the first certificate in tls.crt"));
    let alone = AuthorityConfig { issuer_dir: None, ..config(&mixed, Some(Path::new("ca.crt"))) };
    assert!(open(&alone, &metrics).unwrap_err().contains("needs --identity-issuer-dir"));
}

#[tokio::test]
async fn a_replaced_secret_is_used_and_a_bad_one_is_refused_while_the_old_one_signs() {
    let (old, new) = (new_ca(), new_ca());
    let mut secret = Secret::new(&[("tls.crt", &old.issuer), ("tls.key", &old.key)]);
    let anchors_dir = TempDir::new().unwrap();
    let anchors = anchors_dir.path().join("ca-bundle.crt");
    fs::write(&anchors, &old.anchors).unwrap();
    let metrics = Metrics::new();
    let authority = open(&config(&secret, Some(&anchors)), &metrics).unwrap();
    let own = OwnCertificate::new(&mesh(), authority.clone(), Duration::from_secs(600), metrics.clone());
    let own = Arc::new(own.unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(authority.clone().run(stop.clone()));
    tokio::spawn(own.clone().run(stop.clone()));
    let before = own.chain();
    let first = authority.issuer();

    // Its root is not trusted (yet).
    secret.replace(&[("tls.crt", &new.issuer), ("tls.key", &new.key)]);
    within(async {
        while !metrics.text().contains("weft_control_issuer_reload_errors_total 1") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(Arc::ptr_eq(&first, &authority.issuer()));
    assert_eq!(before, own.chain());

    // Both roots are trusted during a rotation. weft-control proves itself with the new issuer from now on.
    fs::write(&anchors, format!("{}{}", old.anchors, new.anchors)).unwrap();
    within(async {
        while own.chain() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(!Arc::ptr_eq(&first, &authority.issuer()));
    assert_ne!(own.chain()[1..], before[1..]);
    stop.cancel();
}

#[tokio::test]
async fn weft_controls_own_certificate_is_renewed_in_time() {
    let ca = new_ca();
    let secret = Secret::new(&[("tls.crt", &ca.issuer), ("tls.key", &ca.key), ("ca.crt", &ca.anchors)]);
    let config = AuthorityConfig { clock_skew: Duration::ZERO, ..config(&secret, None) };
    let authority = open(&config, &Metrics::new()).unwrap();
    let own = OwnCertificate::new(&mesh(), authority, Duration::from_secs(1), Metrics::new()).unwrap();
    let (own, stop) = (Arc::new(own), CancellationToken::new());
    let before = own.chain();
    tokio::spawn(own.clone().run(stop.clone()));
    within(async {
        while own.chain() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    stop.cancel();
}
