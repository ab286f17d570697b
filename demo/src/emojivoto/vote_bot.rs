//! The vote bot: asks web for the list of emojis, votes for one of them, and begins again.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rand::Rng;
use rand::seq::IndexedRandom;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::catalogue::DOUGHNUT;
use super::settings;
use crate::tcp::report::Report;

/// The part of votes that are for the doughnut.
const DOUGHNUT_PART: f64 = 0.15;
/// Longer than web waits for its backends.
const TIMEOUT: Duration = Duration::from_secs(15);
const MAX_LIST_BYTES: usize = 1 << 20;
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Arguments of `weft-demo vote-bot`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The web service, as HOST:PORT
    #[arg(long, env, value_parser = settings::host)]
    web_host: String,
    /// The Host header, if it is to be another one
    #[arg(long, env, value_parser = header)]
    host_override: Option<HeaderValue>,
    /// Votes per second
    #[arg(long, env, default_value = "1", value_parser = settings::rate)]
    request_rate: f64,
    /// How long to vote, as in 90s or 5m; without it, for ever
    #[arg(long, env, value_parser = settings::time)]
    ttl: Option<Duration>,
}

/// Votes until `stop` changes or the time is over.
pub(crate) async fn run(args: Args, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let report = Report::default();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / args.request_rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reports = interval(REPORT_INTERVAL);
    reports.tick().await;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let bot =
        Bot { client: Client::builder(TokioExecutor::new()).build(connector), args: &args, report: &report };
    let end = async {
        match args.ttl {
            Some(ttl) => sleep(ttl).await,
            None => std::future::pending().await,
        }
    };
    let voting = async {
        loop {
            ticks.tick().await;
            if let Err(error) = bot.vote().await {
                report.failed(&format!("{error:#}"));
            }
        }
    };
    tokio::select! {
        _ = stop.changed() => {}
        () = end => {}
        () = voting => {}
        () = async { loop {
            reports.tick().await;
            println!("{}: {}", args.web_host, report.take());
        } } => {}
    }
    println!("{}: {}; stopped", args.web_host, report.take());
    Ok(())
}

struct Bot<'a> {
    client: Client<HttpConnector, Empty<Bytes>>,
    args: &'a Args,
    report: &'a Report,
}

impl Bot<'_> {
    async fn vote(&self) -> anyhow::Result<()> {
        let (status, list) = self.get("/api/list").await?;
        ensure!(status == StatusCode::OK, "GET /api/list: {status}");
        let list: serde_json::Value = serde_json::from_slice(&list).context("GET /api/list: not JSON")?;
        let codes: Vec<_> =
            list.as_array().into_iter().flatten().filter_map(|e| e["shortcode"].as_str()).collect();
        let choice = match rand::rng().random_bool(DOUGHNUT_PART) {
            true => DOUGHNUT,
            false => codes.choose(&mut rand::rng()).context("GET /api/list: no emojis")?,
        };
        match self.get(&format!("/api/vote?choice={choice}")).await? {
            (StatusCode::OK, _) => Ok(()),
            (status, _) => bail!("vote for {choice}: {status}"),
        }
    }

    async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let uri: Uri = format!("http://{}{path}", self.args.web_host).parse().context("not a URL")?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        if let Some(host) = &self.args.host_override {
            request.headers_mut().insert(HOST, host.clone());
        }
        let sent = Instant::now();
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_LIST_BYTES).collect().await;
            Ok::<_, anyhow::Error>((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
        };
        let (status, body) =
            timeout(TIMEOUT, exchange).await.with_context(|| format!("GET {path}: timed out"))??;
        self.report.answered(&format!("{}", status.as_u16()), sent.elapsed(), body.len());
        Ok((status, body))
    }
}

fn header(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| "write a host name, such as web.example.com".to_owned())
}
