//! `weft-viz tap`: builds the aggregated API server and runs it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weft_control::index::Cluster;

use super::{
    access::Access,
    admin, anchors,
    certificate::{CertificateError, Current, ServingCertificate},
    connections::{self, Security},
    front_proxy::FrontProxy,
    registration::Registration,
    review::Reviews,
    routes::{Api, router},
};
use crate::tap::{Credentials, FanOut, FanOutConfig, SharedTaps, TapRole};

/// What the role needs from outside.
pub struct Server {
    pub role: TapRole,
    pub client: Client,
    /// The cluster, kept up to date.
    pub cluster: watch::Receiver<Arc<Cluster>>,
    /// The kinds of objects that have not been read yet.
    pub unsynced: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("cannot make the server's certificate: {0}")]
    Certificate(#[from] CertificateError),
}

/// Serves until `stop`.
///
/// # Errors
/// Why it does not start.
pub async fn run(server: Server, stop: CancellationToken) -> Result<(), ServerError> {
    let Server { role, client, cluster, unsynced } = server;
    let listen = async |address| {
        weft_control::listen(address).await.map_err(|error| ServerError::Listen(address, error))
    };
    let (listener, admin_listener) = (listen(role.listen).await?, listen(role.admin).await?);
    let credentials = Arc::new(Credentials::start(role.tap.credentials()));
    let fan_out = FanOut::new(FanOutConfig {
        cluster,
        proxies: role.tap.proxies(),
        proxy_identity: role.tap.proxy_identity(),
        credentials: credentials.clone(),
        ignore_headers: role.tap.tap_ignore_headers.clone(),
    });
    let taps = Arc::new(SharedTaps::new(Arc::new(fan_out)));
    let namespace = &role.tap.viz_namespace;
    let certificate = Current::new(ServingCertificate::make(&role.service, namespace)?);
    let front_proxy = Arc::<FrontProxy>::default();
    let registration = Registration::new(client.clone(), certificate.clone(), &role.service, namespace);
    let registered = registration.registered();
    let missing: Arc<dyn Fn() -> Option<String> + Send + Sync> = Arc::new({
        let front_proxy = front_proxy.clone();
        move || {
            if let Some(kinds) = unsynced() {
                Some(format!("not read yet: {kinds}"))
            } else if !credentials.is_ready() {
                Some("the control plane has issued no certificate yet".to_owned())
            } else if front_proxy.settings().is_none() {
                Some("the API server's front proxy is not known yet".to_owned())
            } else if !registered.load(Ordering::Relaxed) {
                Some("the APIService does not have this server's certificate yet".to_owned())
            } else {
                None
            }
        }
    });
    let reviews = Arc::new(Reviews::new(client.clone()));
    let access = Access::Kubernetes { front_proxy: front_proxy.clone(), reviews };
    let routes = router(Api { access, taps: taps.clone(), missing: missing.clone() });
    let security = Security::Tls { certificate, front_proxy: front_proxy.clone() };
    let admin = admin::router(taps, missing);
    tracing::info!(address = %role.listen, admin = %role.admin, "weft-viz tap runs");
    tokio::join!(
        connections::serve(listener, security, routes, stop.clone()),
        connections::serve(admin_listener, Security::Plain, admin, stop.clone()),
        front_proxy.follow(client.clone(), stop.clone()),
        anchors::follow(
            client,
            role.tap.control_plane_namespace.clone(),
            &role.tap.trust_anchors,
            stop.clone()
        ),
        registration.run(stop),
    );
    Ok(())
}
