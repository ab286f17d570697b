//! Calls emoji and voting: one HTTP/2 connection to each, which all requests share.

use std::time::{Duration, Instant};

use anyhow::Context;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::api::emoji_service_client::EmojiServiceClient;
use super::api::{
    Emoji, FindByShortcodeRequest, ListAllEmojiRequest, ResultsRequest, ResultsResponse, VoteRequest,
    VoteResponse, VotingResult,
};
use super::catalogue;
use super::leaderboard::{Leaderboard, REPLICA_HEADER};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The services that web needs.
#[derive(Debug)]
pub(crate) struct Backends {
    emoji: EmojiServiceClient<Channel>,
    voting: Channel,
    leaderboard: Leaderboard,
}

impl Backends {
    /// Connections are made with the first call, and again when they are lost.
    pub(crate) fn new(emoji: &str, voting: &str) -> anyhow::Result<Self> {
        Ok(Self {
            emoji: EmojiServiceClient::new(channel(emoji)?),
            voting: channel(voting)?,
            leaderboard: Leaderboard::default(),
        })
    }

    /// All emojis.
    pub(crate) async fn list(&self) -> Result<Vec<Emoji>, Status> {
        Ok(self.emoji.clone().list_all(ListAllEmojiRequest {}).await?.into_inner().list)
    }

    /// The emoji with this shortcode.
    pub(crate) async fn find(&self, shortcode: &str) -> Result<Option<Emoji>, Status> {
        let request = FindByShortcodeRequest { shortcode: shortcode.to_owned() };
        Ok(self.emoji.clone().find_by_shortcode(request).await?.into_inner().emoji)
    }

    /// Votes by the emoji's own method.
    pub(crate) async fn vote(&self, shortcode: &str) -> Result<(), Status> {
        let (_, entry) = catalogue::by_shortcode(shortcode)
            .ok_or_else(|| Status::unimplemented(format!("{shortcode} has no method to vote for it")))?;
        self.call::<VoteRequest, VoteResponse>(&entry.method, VoteRequest {}).await.map(drop)
    }

    /// The votes that all replicas of voting have counted, as far as they have answered.
    pub(crate) async fn results(&self) -> Result<Vec<VotingResult>, Status> {
        let response = self.call::<_, ResultsResponse>("Results", ResultsRequest {}).await?;
        let name = response.metadata().get(REPLICA_HEADER).and_then(|name| name.to_str().ok());
        let name = name.unwrap_or_default().to_owned();
        Ok(self.leaderboard.add(&name, response.into_inner().results, Instant::now()))
    }

    async fn call<Q, A>(&self, method: &str, message: Q) -> Result<Response<A>, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(format!("/emojivoto.v1.VotingService/{method}"))
            .map_err(|error| Status::internal(error.to_string()))?;
        let mut client = Grpc::new(self.voting.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        client.unary(Request::new(message), path, ProstCodec::<Q, A>::default()).await
    }
}

fn channel(host: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{host}"))
        .with_context(|| format!("{host} is not a host with a port"))?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT).tcp_nodelay(true).connect_lazy())
}
