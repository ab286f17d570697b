//! Calls to the control plane's node service.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::io::AsyncReadExt;
use tonic::{Request, Streaming, metadata::MetadataValue, transport::Channel};
use weft_api::node::{self as api, node_client::NodeClient};

use crate::{control::Client, net::Backoff};

const MIN_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(5);
/// Tokens of service accounts have about 1 KiB.
const MAX_TOKEN: u64 = 64 << 10;

/// How the control plane is reached.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// This node.
    pub node: String,
    /// The file with the node's token.
    pub token_file: PathBuf,
}

/// The pauses before connecting to the control plane again.
pub(super) fn retries() -> Backoff {
    Backoff::new(MIN_RETRY, MAX_RETRY)
}

/// The node's workloads; `draining` for a proxy that does not serve new connections any more.
pub(super) async fn updates(
    config: &WatchConfig,
    control: &Client,
    draining: bool,
) -> Result<Streaming<api::Update>, tonic::Status> {
    let mut client = NodeClient::new(control.clone()).max_decoding_message_size(64 << 20);
    let message = api::WatchRequest { node: config.node.clone(), draining, presence_only: false };
    Ok(client.watch(authorized(config, message).await?).await?.into_inner())
}

/// A stream that shows one replica of the control plane that this proxy is there. Its first message says that the
/// replica is ready.
pub(super) async fn presence(
    config: &WatchConfig,
    replica: &Channel,
    draining: bool,
) -> Result<Streaming<api::Update>, tonic::Status> {
    let message = api::WatchRequest { node: config.node.clone(), draining, presence_only: true };
    let request = authorized(config, message).await?;
    Ok(NodeClient::new(replica.clone()).watch(request).await?.into_inner())
}

/// Adds the node's token, which is read anew for each call.
pub(super) async fn authorized<T>(config: &WatchConfig, message: T) -> Result<Request<T>, tonic::Status> {
    let token = read_token(&config.token_file).await.map_err(|error| {
        tonic::Status::unauthenticated(format!("token file {}: {error}", config.token_file.display()))
    })?;
    let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| tonic::Status::unauthenticated("the token file holds no token"))?;
    value.set_sensitive(true);
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

async fn read_token(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(MAX_TOKEN).read_to_string(&mut text).await?;
    Ok(text)
}
