//! The server of the destination service, like the generated one, but with the codec for long streams.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{
    Code, Status,
    body::Body,
    server::{Grpc, NamedService, ServerStreamingService},
};
use weft_api::{
    codec::CompactCodec,
    linkerd::destination::{
        DestinationProfile, GetDestination, Update,
        destination_server::{Destination, SERVICE_NAME},
    },
};

use super::Destinations;
use crate::streams::Stream;

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;
type Streaming<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<Stream<T>>, Status>> + Send>>;

#[derive(Clone, Debug)]
pub(crate) struct DestinationServer {
    destinations: Destinations,
    max_request_bytes: usize,
}

struct Get(Destinations);

struct GetProfile(Destinations);

impl DestinationServer {
    pub(crate) fn new(destinations: Destinations, max_request_bytes: usize) -> Self {
        Self { destinations, max_request_bytes }
    }

    fn answer<M, T>(&self, method: M, request: Request<Body>) -> Answer
    where
        M: ServerStreamingService<GetDestination, Response = T> + Send + 'static,
        M::Future: Send,
        M::ResponseStream: Send + 'static,
        T: prost::Message + 'static,
    {
        let codec = CompactCodec::<T, GetDestination>::default();
        let mut grpc = Grpc::new(codec).max_decoding_message_size(self.max_request_bytes);
        Box::pin(async move { Ok(grpc.server_streaming(method, request).await) })
    }
}

impl tower::Service<Request<Body>> for DestinationServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let method = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME));
        match method {
            Some("/Get") => self.answer(Get(self.destinations.clone()), request),
            Some("/GetProfile") => self.answer(GetProfile(self.destinations.clone()), request),
            _ => {
                let unknown = Status::new(Code::Unimplemented, "the destination service has no such method");
                Box::pin(async move { Ok(unknown.into_http()) })
            }
        }
    }
}

impl NamedService for DestinationServer {
    const NAME: &'static str = SERVICE_NAME;
}

impl ServerStreamingService<GetDestination> for Get {
    type Response = Update;
    type ResponseStream = Stream<Update>;
    type Future = Streaming<Update>;

    fn call(&mut self, request: tonic::Request<GetDestination>) -> Self::Future {
        let destinations = self.0.clone();
        Box::pin(async move { destinations.get(request).await })
    }
}

impl ServerStreamingService<GetDestination> for GetProfile {
    type Response = DestinationProfile;
    type ResponseStream = Stream<DestinationProfile>;
    type Future = Streaming<DestinationProfile>;

    fn call(&mut self, request: tonic::Request<GetDestination>) -> Self::Future {
        let destinations = self.0.clone();
        Box::pin(async move { destinations.get_profile(request).await })
    }
}
