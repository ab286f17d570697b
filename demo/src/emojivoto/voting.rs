//! The voting service: a method for each emoji, and the results. Votes for the doughnut fail.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll as Ready};
use std::time::Duration;

use rand::Rng;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::MetadataValue;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::api::{ResultsRequest, ResultsResponse, VoteRequest, VoteResponse};
use super::catalogue::{self, DOUGHNUT, Entry};
use super::grpc::{self, Ports};
use super::leaderboard::REPLICA_HEADER;
use super::metrics::Metrics;
use super::poll::Poll;
use super::settings;

/// Arguments of `weft-demo voting`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ports: Ports,
    /// The part of the doughnut's votes that fail, from 0 to 1
    #[arg(long, env, default_value = "1", value_parser = settings::failure_rate)]
    failure_rate: f64,
    /// Milliseconds that each vote takes
    #[arg(long, env, default_value = "0", value_parser = settings::delay)]
    artificial_delay: Duration,
    /// The name of this replica, by which web tells apart whose results it has
    #[arg(long, env, default_value = "voting")]
    hostname: String,
}

/// Serves until `stop` changes.
pub(crate) async fn run(args: Args, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let metrics = Metrics::new(Voting::NAME);
    let service = Voting::new(args.failure_rate, args.artificial_delay, &args.hostname, metrics.clone());
    println!("votes for {DOUGHNUT} fail with probability {}", args.failure_rate);
    grpc::serve(service, metrics, &args.ports, stop).await
}

/// Serves all methods of `emojivoto.v1.VotingService`. Not generated: a hundred methods do the same.
#[derive(Clone, Debug)]
pub(super) struct Voting {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    poll: Poll,
    failure_rate: f64,
    delay: Duration,
    replica: Option<MetadataValue<tonic::metadata::Ascii>>,
    metrics: Metrics,
}

impl Voting {
    pub(super) fn new(failure_rate: f64, delay: Duration, replica: &str, metrics: Metrics) -> Self {
        let shared = Shared {
            poll: Poll::new(),
            failure_rate,
            delay,
            // A name that cannot be a header's value is left out.
            replica: MetadataValue::try_from(replica).ok(),
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }
}

impl NamedService for Voting {
    const NAME: &'static str = "emojivoto.v1.VotingService";
}

impl Service<http::Request<Body>> for Voting {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Ready<Result<(), Infallible>> {
        Ready::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default();
            Ok(match (method, catalogue::by_method(method)) {
                (_, Some((place, entry))) => {
                    let vote = Vote { shared, place, entry };
                    Grpc::new(ProstCodec::<VoteResponse, VoteRequest>::default()).unary(vote, request).await
                }
                ("Results", _) => {
                    let codec = ProstCodec::<ResultsResponse, ResultsRequest>::default();
                    Grpc::new(codec).unary(Results { shared }, request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// One vote.
struct Vote {
    shared: Arc<Shared>,
    place: usize,
    entry: &'static Entry,
}

impl UnaryService<VoteRequest> for Vote {
    type Response = VoteResponse;
    type Future = BoxFuture<Response<VoteResponse>, Status>;

    fn call(&mut self, _: Request<VoteRequest>) -> Self::Future {
        let (shared, place, entry) = (self.shared.clone(), self.place, self.entry);
        Box::pin(async move {
            if !shared.delay.is_zero() {
                tokio::time::sleep(shared.delay).await;
            }
            let fails = entry.shortcode == DOUGHNUT && rand::rng().random_bool(shared.failure_rate);
            let result = match fails {
                // The message of Linkerd's demo.
                true => Err(Status::unknown("ERROR")),
                false => {
                    shared.poll.vote(place);
                    Ok(Response::new(VoteResponse {}))
                }
            };
            shared.metrics.count(&entry.method, &result);
            result
        })
    }
}

struct Results {
    shared: Arc<Shared>,
}

impl UnaryService<ResultsRequest> for Results {
    type Response = ResultsResponse;
    type Future = BoxFuture<Response<ResultsResponse>, Status>;

    fn call(&mut self, _: Request<ResultsRequest>) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move {
            let mut response = Response::new(ResultsResponse { results: shared.poll.results() });
            if let Some(replica) = &shared.replica {
                response.metadata_mut().insert(REPLICA_HEADER, replica.clone());
            }
            let result = Ok(response);
            shared.metrics.count("Results", &result);
            result
        })
    }
}
