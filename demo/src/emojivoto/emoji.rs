//! The emoji service: lists the emojis and finds them by shortcode.

use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::api::emoji_service_server::{EmojiService, EmojiServiceServer};
use super::api::{
    Emoji, FindByShortcodeRequest, FindByShortcodeResponse, ListAllEmojiRequest, ListAllEmojiResponse,
};
use super::catalogue::{self, Entry};
use super::grpc::{self, Ports};
use super::metrics::Metrics;

/// Arguments of `weft-demo emoji`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ports: Ports,
}

/// Serves until `stop` changes.
pub(crate) async fn run(args: Args, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let metrics = Metrics::new("emojivoto.v1.EmojiService");
    grpc::serve(service(metrics.clone()), metrics, &args.ports, stop).await
}

pub(super) fn service(metrics: Metrics) -> EmojiServiceServer<Emojis> {
    EmojiServiceServer::new(Emojis { metrics })
}

#[derive(Debug)]
pub(super) struct Emojis {
    metrics: Metrics,
}

#[tonic::async_trait]
impl EmojiService for Emojis {
    async fn list_all(
        &self,
        _: Request<ListAllEmojiRequest>,
    ) -> Result<Response<ListAllEmojiResponse>, Status> {
        let list = catalogue::all().iter().map(emoji).collect();
        let result = Ok(Response::new(ListAllEmojiResponse { list }));
        self.metrics.count("ListAll", &result);
        result
    }

    async fn find_by_shortcode(
        &self,
        request: Request<FindByShortcodeRequest>,
    ) -> Result<Response<FindByShortcodeResponse>, Status> {
        let found = catalogue::by_shortcode(&request.get_ref().shortcode);
        let emoji = found.map(|(_, entry)| emoji(entry));
        let result = Ok(Response::new(FindByShortcodeResponse { emoji }));
        self.metrics.count("FindByShortcode", &result);
        result
    }
}

fn emoji(entry: &Entry) -> Emoji {
    Emoji { unicode: entry.unicode.to_owned(), shortcode: entry.shortcode.clone() }
}
