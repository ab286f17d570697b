//! Sends requests at a fixed rate and checks every response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rand::Rng;
use rand::seq::SliceRandom;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::frame;
use super::report::Report;

/// A connection or a response that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failure. Each further failure doubles it.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Seconds for which a connection is used. New connections give the balancer choices to make.
const LIFETIME: std::ops::Range<f64> = 3.0..12.0;

/// Arguments of `weft-demo client`.
#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// The server, as NAME:PORT
    #[arg(long)]
    target: String,
    /// Requests per second, of all connections together
    #[arg(long, default_value_t = 10.0, value_parser = rate)]
    rate: f64,
    /// Bytes per request
    #[arg(long, default_value_t = 1024, value_parser = size)]
    size: usize,
    /// Connections at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
}

/// Sends requests until `stop` changes.
pub(crate) async fn run(args: Args, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let report = Arc::new(Report::default());
    let mut tasks = JoinSet::new();
    for _ in 0..args.connections {
        tasks.spawn(send_requests(args.clone(), report.clone()));
    }
    let mut second = interval(Duration::from_secs(1));
    second.tick().await;
    loop {
        tokio::select! {
            _ = second.tick() => println!("{}: {}", args.target, report.take()),
            _ = stop.changed() => break,
        }
    }
    tasks.shutdown().await;
    println!("{}: {}; stopped", args.target, report.take());
    Ok(())
}

async fn send_requests(args: Args, report: Arc<Report>) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        match use_connection(&args, &report).await {
            Ok(()) => backoff = FIRST_BACKOFF,
            Err(error) => {
                report.failed(&format!("{error:#}"));
                let jitter = rand::rng().random_range(0.5..1.5);
                sleep(backoff.mul_f64(jitter)).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
    }
}

/// Uses one connection for its lifetime.
async fn use_connection(args: &Args, report: &Report) -> anyhow::Result<()> {
    let mut stream = timeout(TIMEOUT, connect(&args.target)).await.context("connect timed out")??;
    report.connected();
    let end = Instant::now() + Duration::from_secs_f64(rand::rng().random_range(LIFETIME));
    let mut ticks = interval(Duration::from_secs_f64(f64::from(args.connections) / args.rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut payload = vec![0; args.size];
    while Instant::now() < end {
        ticks.tick().await;
        rand::rng().fill(payload.as_mut_slice());
        let sent = Instant::now();
        let response =
            timeout(TIMEOUT, exchange(&mut stream, &payload)).await.context("response timed out")??;
        ensure!(
            response.payload == payload,
            "{} answered with bytes that differ from the request",
            response.name
        );
        report.answered(&response.name, sent.elapsed(), payload.len());
    }
    Ok(())
}

async fn exchange(stream: &mut TcpStream, payload: &[u8]) -> anyhow::Result<frame::Frame> {
    frame::write(stream, "", payload).await.context("request")?;
    frame::read(stream).await.context("response")?.context("the server closed the connection")
}

/// Tries the target's addresses in random order, so that both IPv4 and IPv6 are used.
async fn connect(target: &str) -> anyhow::Result<TcpStream> {
    let mut addresses: Vec<_> =
        lookup_host(target).await.with_context(|| format!("cannot resolve {target}"))?.collect();
    addresses.shuffle(&mut rand::rng());
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(anyhow::Error::new(error).context(format!("connect to {address}"))),
        }
    }
    match last {
        Some(error) => Err(error),
        None => bail!("{target} has no address"),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e6).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.001 to 1000000".to_owned()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if size <= frame::MAX_PAYLOAD => Ok(size),
        _ => Err(format!("a number up to {}", frame::MAX_PAYLOAD)),
    }
}
