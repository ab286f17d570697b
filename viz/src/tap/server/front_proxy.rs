//! Authenticates the API server that forwards requests, and reads the user that it names.
//!
//! The ConfigMap extension-apiserver-authentication says which certificates prove the front proxy and in which headers it
//! names users. Without such a certificate those headers are worth nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use parking_lot::RwLock;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use weft_api::viz::{ErrorCode, Failure};
use x509_parser::prelude::{FromDer, X509Certificate};

const NAMESPACE: &str = "kube-system";
pub(crate) const NAME: &str = "extension-apiserver-authentication";
const INTERVAL: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer lists are cut: the API server is trusted, but its headers have bounds too.
const MAX_GROUPS: usize = 1_000;
const MAX_EXTRA: usize = 100;

/// How the front proxy is known. `None` inside until the ConfigMap has been read.
#[derive(Debug, Default)]
pub(super) struct FrontProxy {
    settings: RwLock<Option<Arc<Settings>>>,
}

/// What the ConfigMap says.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) roots: Arc<RootCertStore>,
    /// The common names that count; empty: all.
    names: Vec<String>,
    user: Vec<HeaderName>,
    group: Vec<HeaderName>,
    /// Prefixes of header names, in lower case.
    extra: Vec<String>,
    source: BTreeMap<String, String>,
}

/// The certificate that a connection's client has proven, in DER.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientCertificate(pub(super) Option<Arc<[u8]>>);

/// Who makes a request, as the API server has authenticated them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

impl FrontProxy {
    pub(super) fn settings(&self) -> Option<Arc<Settings>> {
        self.settings.read().clone()
    }

    /// The user that the front proxy names.
    ///
    /// # Errors
    /// The client has not proven that it is the front proxy, or names nobody.
    pub(super) fn user(&self, certificate: &ClientCertificate, headers: &HeaderMap) -> Result<User, Failure> {
        let forbidden = |text: &str| {
            Failure::new(ErrorCode::Forbidden, text)
                .hint("Go through the Kubernetes API server, as kubectl does")
        };
        let settings = self.settings().ok_or_else(|| {
            Failure::new(ErrorCode::ClusterUnavailable, "the API server's front proxy is not known yet")
        })?;
        // The TLS handshake has verified that it chains to the front proxy's authority.
        let certificate = certificate.0.as_ref().ok_or_else(|| forbidden("only the API server may ask"))?;
        let name =
            common_name(certificate).ok_or_else(|| forbidden("the client's certificate has no name"))?;
        if !settings.names.is_empty() && !settings.names.contains(&name) {
            return Err(forbidden("the client's certificate is not that of the API server's front proxy"));
        }
        let user = settings.user.iter().find_map(|header| headers.get(header)?.to_str().ok());
        let user = user.filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| forbidden("the API server does not say who asks"))?;
        let groups = settings.group.iter().flat_map(|header| headers.get_all(header));
        let groups = groups.filter_map(|group| group.to_str().ok()).take(MAX_GROUPS).map(str::to_owned);
        Ok(User { name: user.to_owned(), groups: groups.collect(), extra: settings.extra_of(headers) })
    }

    /// Reads the ConfigMap again and again until `stop`.
    pub(super) async fn follow(self: Arc<Self>, client: Client, stop: CancellationToken) {
        let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let mut last_error = String::new();
        loop {
            let read = async {
                let map = timeout(ANSWER_TIMEOUT, api.get(NAME))
                    .await
                    .map_err(|_| "the API server does not answer".to_owned())?
                    .map_err(|error| error.to_string())?;
                self.update(map.data.unwrap_or_default())
            };
            let error = read.await.err().unwrap_or_default();
            if !error.is_empty() && error != last_error {
                tracing::warn!(
                    "cannot read ConfigMap {NAMESPACE}/{NAME}: {error}; what was read before stays valid"
                );
            }
            let pause = if error.is_empty() { INTERVAL } else { RETRY };
            last_error = error;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// # Errors
    /// What is wrong with the ConfigMap; the settings stay as they were.
    pub(super) fn update(&self, data: BTreeMap<String, String>) -> Result<(), String> {
        if self.settings().is_some_and(|settings| settings.source == data) {
            return Ok(());
        }
        let settings = Settings::read(data)?;
        tracing::info!(names = ?settings.names, "the API server's front proxy is known");
        *self.settings.write() = Some(Arc::new(settings));
        Ok(())
    }
}

impl Settings {
    fn read(data: BTreeMap<String, String>) -> Result<Self, String> {
        let pem = data.get("requestheader-client-ca-file").filter(|pem| !pem.trim().is_empty()).ok_or(
            "it has no requestheader-client-ca-file: the API server runs without --requestheader-client-ca-file, \
             so it cannot forward requests to extensions",
        )?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate =
                certificate.map_err(|error| format!("requestheader-client-ca-file: {error}"))?;
            roots.add(certificate).map_err(|error| format!("requestheader-client-ca-file: {error}"))?;
        }
        if roots.is_empty() {
            return Err("requestheader-client-ca-file holds no certificate".to_owned());
        }
        let list = |name: &str| -> Result<Vec<String>, String> {
            let Some(text) = data.get(name).filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
            serde_json::from_str(text).map_err(|error| format!("{name} is not a list of texts: {error}"))
        };
        let headers = |name: &str| -> Result<Vec<HeaderName>, String> {
            let names = list(name)?.into_iter();
            names.map(|text| HeaderName::try_from(&text).map_err(|_| format!("{name}: {text:?}"))).collect()
        };
        let user = headers("requestheader-username-headers")?;
        if user.is_empty() {
            return Err("requestheader-username-headers is empty".to_owned());
        }
        let extra = list("requestheader-extra-headers-prefix")?;
        Ok(Self {
            roots: Arc::new(roots),
            names: list("requestheader-allowed-names")?,
            user,
            group: headers("requestheader-group-headers")?,
            extra: extra.into_iter().map(|prefix| prefix.to_ascii_lowercase()).collect(),
            source: data,
        })
    }

    fn extra_of(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers.iter().take(MAX_GROUPS) {
            let key = self.extra.iter().find_map(|prefix| name.as_str().strip_prefix(prefix.as_str()));
            let Some((key, value)) = key.zip(value.to_str().ok()) else { continue };
            if extra.len() < MAX_EXTRA || extra.contains_key(key) {
                extra.entry(unescape(key)).or_default().push(value.to_owned());
            }
        }
        extra
    }
}

/// Undoes the percent-encoding of keys, which may hold characters that names of headers may not.
fn unescape(key: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(key.len()), key.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(name: &str) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    fn data(names: &str) -> BTreeMap<String, String> {
        [
            ("requestheader-client-ca-file", certificate("authority").pem()),
            ("requestheader-allowed-names", names.to_owned()),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#.to_owned()),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#.to_owned()),
            ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn client(name: &str) -> ClientCertificate {
        ClientCertificate(Some(certificate(name).der().to_vec().into()))
    }

    const JANE: [(&str, &str); 4] = [
        ("x-remote-user", "jane"),
        ("x-remote-group", "dev"),
        ("x-remote-group", "system:authenticated"),
        ("x-remote-extra-scopes.example.com%2fone", "a"),
    ];

    #[test]
    fn the_front_proxy_names_the_user() {
        let proxy = FrontProxy::default();
        proxy.update(data(r#"["front-proxy-client"]"#)).unwrap();
        let user = proxy.user(&client("front-proxy-client"), &headers(&JANE)).unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups),
            ("jane", vec!["dev".into(), "system:authenticated".into()])
        );
        assert_eq!(user.extra, BTreeMap::from([("scopes.example.com/one".into(), vec!["a".into()])]));
    }

    #[test]
    fn nobody_else_can_name_a_user() {
        let proxy = FrontProxy::default();
        let refused = |certificate: &ClientCertificate, list: &[(&str, &str)]| {
            proxy.user(certificate, &headers(list)).unwrap_err().code
        };
        assert_eq!(refused(&client("front-proxy-client"), &JANE), ErrorCode::ClusterUnavailable);
        proxy.update(data(r#"["front-proxy-client"]"#)).unwrap();
        assert_eq!(refused(&ClientCertificate(None), &JANE), ErrorCode::Forbidden);
        assert_eq!(refused(&client("kubelet"), &JANE), ErrorCode::Forbidden);
        assert_eq!(refused(&client("front-proxy-client"), &[]), ErrorCode::Forbidden);
        assert_eq!(refused(&client("front-proxy-client"), &[("x-remote-user", "")]), ErrorCode::Forbidden);
    }

    #[test]
    fn without_a_list_of_names_every_certificate_of_the_authority_counts() {
        let proxy = FrontProxy::default();
        proxy.update(data("[]")).unwrap();
        assert!(proxy.user(&client("anything"), &headers(&JANE)).is_ok());
    }

    #[test]
    fn a_bad_config_map_changes_nothing_and_says_what_is_wrong() {
        let proxy = FrontProxy::default();
        proxy.update(data("[]")).unwrap();
        for (name, value, text) in [
            ("requestheader-client-ca-file", "", "runs without --requestheader-client-ca-file"),
            ("requestheader-client-ca-file", "x", "holds no certificate"),
            ("requestheader-allowed-names", "x", "requestheader-allowed-names is not a list"),
            ("requestheader-username-headers", "[]", "requestheader-username-headers is empty"),
        ] {
            let mut bad = data("[]");
            bad.insert(name.to_owned(), value.to_owned());
            let error = proxy.update(bad).unwrap_err();
            assert!(error.contains(text), "{error}");
            assert!(proxy.settings().is_some());
        }
    }
}
