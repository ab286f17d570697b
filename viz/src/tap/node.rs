//! The tap of one node: a stream to its proxy, opened again when it breaks or when pods or rate change.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt, stream::SelectAll};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tonic::{
    Status, Streaming,
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint},
};
use weft_api::{
    linkerd::tap::{TapEvent, tap_client::TapClient},
    secure, tap,
};
use weft_control::{index::Cluster, model::Name};

use super::{Credentials, Proxies, request::Question};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
const MIN_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// An event has two heads with headers at most.
const MAX_EVENT: usize = 256 << 10;

/// What a node is asked at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) pods: BTreeSet<Name>,
    pub(super) rps: u32,
}

/// What a node's task says.
#[derive(Debug)]
pub(super) enum News {
    /// The proxy has accepted the tap.
    Open,
    Event(Box<TapEvent>),
    /// There is no stream, for this reason.
    Lost(String),
}

/// What is needed to tap any node.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) proxies: Proxies,
    pub(super) proxy_identity: String,
    pub(super) credentials: Arc<Credentials>,
    pub(super) cluster: watch::Receiver<Arc<Cluster>>,
}

/// The task of one node.
pub(super) struct NodeTap {
    pub(super) node: String,
    pub(super) context: Arc<Context>,
    pub(super) question: Arc<Question>,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) news: mpsc::Sender<(String, News)>,
}

/// The streams of a connection: the current one, and earlier ones until their requests have ended.
struct Streams {
    client: TapClient<Channel>,
    current: Option<AsciiMetadataValue>,
    all: SelectAll<Streaming<TapEvent>>,
}

impl NodeTap {
    /// Runs until the tap ends.
    pub(super) async fn run(mut self) {
        let mut retry = MIN_RETRY;
        loop {
            let reason = match self.connect().await {
                Ok(mut streams) => match self.open(&mut streams).await {
                    Ok(()) => {
                        retry = MIN_RETRY;
                        self.follow(streams).await
                    }
                    Err(reason) => Some(reason),
                },
                Err(reason) => Some(reason),
            };
            let Some(reason) = reason else { return };
            if self.tell(News::Lost(reason)).await.is_err() {
                return;
            }
            tokio::time::sleep(retry.mul_f64(rand::random_range(0.5..=1.0))).await;
            retry = (retry * 2).min(MAX_RETRY);
        }
    }

    /// Passes events on until the stream breaks: why. `None`: nobody wants them any more.
    async fn follow(&mut self, mut streams: Streams) -> Option<String> {
        loop {
            tokio::select! {
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                    if let Err(reason) = self.open(&mut streams).await {
                        return Some(reason);
                    }
                }
                event = streams.all.next() => match event {
                    Some(Ok(event)) => {
                        if self.tell(News::Event(Box::new(event))).await.is_err() {
                            return None;
                        }
                    }
                    Some(Err(status)) => return Some(describe(&status)),
                    None => return Some("the proxy has ended the tap".to_owned()),
                },
            }
        }
    }

    /// Opens a stream for what is wanted now, in the place of the current one.
    async fn open(&mut self, streams: &mut Streams) -> Result<(), String> {
        let Wanted { pods, rps } = self.wanted.borrow_and_update().clone();
        let request = self.question.ask(pods.iter(), rps, streams.current.as_ref());
        let answer = timeout(OPEN_TIMEOUT, streams.client.observe(request))
            .await
            .map_err(|_| "the proxy does not answer".to_owned())?
            .map_err(|status| describe(&status))?;
        streams.current = answer.metadata().get(tap::TAP_ID).cloned();
        streams.all.push(answer.into_inner());
        let _ = self.tell(News::Open).await;
        Ok(())
    }

    async fn connect(&self) -> Result<Streams, String> {
        let address = {
            let cluster = self.context.cluster.borrow().clone();
            self.context.proxies.of(&self.node, &cluster)?
        };
        let channel = self.channel(address).await?;
        let client = TapClient::new(channel).max_decoding_message_size(MAX_EVENT);
        Ok(Streams { client, current: None, all: SelectAll::new() })
    }

    async fn channel(&self, address: SocketAddr) -> Result<Channel, String> {
        let config = self.context.credentials.current(CONNECT_TIMEOUT).await;
        let config = config.ok_or("weft-viz has no certificate yet; its log says why")?;
        let server = secure::server_name(&self.context.proxy_identity).map_err(|error| error.to_string())?;
        let connector = secure::Connector { address, server, config: move || Ok(Arc::clone(&config)) };
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .map_err(|error| error.to_string())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        timeout(OPEN_TIMEOUT, endpoint.connect_with_connector(connector))
            .await
            .map_err(|_| format!("the proxy of node {} does not answer at {address}", self.node))?
            .map_err(|error| {
                format!("the proxy of node {} cannot be reached at {address}: {}", self.node, causes(&error))
            })
    }

    /// # Errors
    /// The tap has ended.
    async fn tell(&self, news: News) -> Result<(), ()> {
        self.news.send((self.node.clone(), news)).await.map_err(drop)
    }
}

fn describe(status: &Status) -> String {
    match status.message() {
        "" => format!("the proxy answers {:?}", status.code()),
        message => message.to_owned(),
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
