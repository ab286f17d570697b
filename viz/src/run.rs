//! Runs a role of weft-viz until a signal ends it.

use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use weft_control::{FollowedSource, Follower};

use crate::{
    admin,
    api::{App, History},
    args::{Args, Role},
    cluster::{Cluster, KINDS},
    config::{Config, LocalTaps, PrometheusConfig, SourceConfig},
    figures::Sources,
    kubernetes_taps::KubernetesTaps,
    logging,
    metrics::Metrics,
    prometheus::{Client, Prometheus},
    proxies::{Proxies, WorstHistory},
    tap::{self, FanOut, FanOutConfig, SharedTaps, TapRole},
    taps::{NoTaps, Taps},
    web,
};

/// Runs what the options say until SIGTERM or SIGINT.
pub async fn run(args: Args) -> anyhow::Result<()> {
    logging::init(args.log_format, &args.log_level).context("--log-level")?;
    // kube and the HTTP clients share one implementation of cryptography. It may be set already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let stop = stop_on_signal()?;
    match args.role {
        Role::Web(args) => serve(args.config()?, stop).await,
        Role::Local(args) => serve(args.config()?, stop).await,
        Role::Tap(role) => serve_taps(*role, stop).await,
    }
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal, "stopping");
        stopped.cancel();
    });
    Ok(stop)
}

/// Serves live calls as an aggregated API.
async fn serve_taps(role: TapRole, stop: CancellationToken) -> anyhow::Result<()> {
    let client = weft_control::kubernetes::client(role.kubeconfig.as_deref()).await?;
    let follower = Follower::start(FollowedSource::Kubernetes(client.clone()), &KINDS, stop.clone())?;
    let cluster = follower.index().subscribe();
    let unsynced = Arc::new(move || follower.missing());
    tap::run(tap::Server { role, client, cluster, unsynced }, stop).await?;
    Ok(())
}

/// Serves live calls of a dev VM, to who can read the token, and returns what opens them.
async fn serve_local_taps(
    config: LocalTaps,
    cluster: &Cluster,
    tasks: &mut JoinSet<()>,
    stop: CancellationToken,
) -> anyhow::Result<Arc<dyn Taps>> {
    let LocalTaps { listen, token_file, options } = config;
    let fan_out = FanOut::new(FanOutConfig {
        cluster: cluster.subscribe(),
        proxies: options.proxies(),
        proxy_identity: options.proxy_identity(),
        credentials: Arc::new(tap::Credentials::start(options.credentials())),
        ignore_headers: options.tap_ignore_headers.clone(),
    });
    let taps: Arc<dyn Taps> = Arc::new(SharedTaps::new(Arc::new(fan_out)));
    let token =
        tap::make_token(&token_file).with_context(|| format!("--tap-token-file {}", token_file.display()))?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("--tap-listen {listen}"))?;
    tracing::info!(address = %listener.local_addr()?, "live calls are served");
    tasks.spawn(tap::serve_local(listener, tap::local_router(token, taps.clone()), stop));
    Ok(taps)
}

/// Serves the dashboard.
async fn serve(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let Config { source, mesh, prometheus, proxies, settings, web, taps: local_taps } = config;
    let metrics = Metrics::new();
    let mut tasks = JoinSet::new();
    let (cluster, taps): (_, Arc<dyn Taps>) = match source {
        SourceConfig::Kubernetes { kubeconfig } => {
            let client = weft_control::kubernetes::client(kubeconfig.as_deref()).await?;
            let cluster = Cluster::kubernetes(client.clone(), mesh, stop.clone())?;
            let taps = SharedTaps::new(Arc::new(KubernetesTaps::new(client)));
            (cluster, Arc::new(taps))
        }
        SourceConfig::Manifests(folders) => {
            let cluster = Cluster::manifests(folders, mesh, stop.clone())?;
            let taps = match local_taps {
                Some(config) => serve_local_taps(config, &cluster, &mut tasks, stop.clone()).await?,
                None => Arc::new(NoTaps),
            };
            (cluster, taps)
        }
    };
    let (cluster, proxies) = (Arc::new(cluster), Arc::new(Proxies::new(proxies)));
    let prometheus = match prometheus {
        Some(PrometheusConfig { url, credentials, authorities }) => {
            let client = Client::new(&url, credentials, authorities)
                .map_err(|error| anyhow::anyhow!("--prometheus-url: {error}"))?;
            Some(Prometheus::new(client, metrics.clone()))
        }
        None => {
            tracing::info!("no Prometheus is configured: figures are those of the last minute");
            None
        }
    };
    let sources = Arc::new(Sources::new(prometheus, settings.scrape_interval));
    tasks.spawn(sources.clone().run(proxies.clone(), cluster.clone()));
    let worst = Arc::<WorstHistory>::default();
    tasks.spawn(worst.clone().run(proxies.clone(), cluster.clone()));
    let app = Arc::new(App {
        sources,
        cluster,
        proxies,
        worst,
        settings,
        history: Mutex::new(History::default()),
        taps,
        metrics: metrics.clone(),
    });

    let listen = |name: &'static str, address| async move {
        weft_control::listen(address).await.with_context(|| format!("{name} {address}"))
    };
    let admin = listen("--admin", web.admin).await?;
    let listener = listen("--listen", web.listen).await?;
    let address = listener.local_addr()?;
    if let Some(path) = &web.address_file {
        tokio::fs::write(path, address.to_string())
            .await
            .with_context(|| format!("--address-file {}", path.display()))?;
    }
    tracing::info!(%address, admin = %admin.local_addr()?, "the dashboard is served");
    tasks.spawn(admin::serve(admin, app.clone(), stop.clone()));
    web::serve(listener, app, web, stop).await;
    Ok(())
}
