//! The server of the outbound policy service, like the generated one, but with the codec for long streams.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{
    Code, Status,
    body::Body,
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
};
use weft_api::{
    codec::CompactCodec,
    linkerd::outbound::{OutboundPolicy, TrafficSpec, outbound_policies_server::SERVICE_NAME},
};

use super::OutboundPolicies;
use crate::streams::Stream;

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;
type Answered<T> = Ready<Result<tonic::Response<T>, Status>>;

#[derive(Clone, Debug)]
pub(crate) struct OutboundServer {
    policies: OutboundPolicies,
    max_request_bytes: usize,
}

struct Get(OutboundPolicies);

struct Watch(OutboundPolicies);

impl OutboundServer {
    pub(crate) fn new(policies: OutboundPolicies, max_request_bytes: usize) -> Self {
        Self { policies, max_request_bytes }
    }

    fn grpc(&self) -> Grpc<CompactCodec<OutboundPolicy, TrafficSpec>> {
        Grpc::new(CompactCodec::default()).max_decoding_message_size(self.max_request_bytes)
    }
}

impl tower::Service<Request<Body>> for OutboundServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let method = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME));
        let (mut grpc, policies) = (self.grpc(), self.policies.clone());
        match method {
            Some("/Get") => Box::pin(async move { Ok(grpc.unary(Get(policies), request).await) }),
            Some("/Watch") => {
                Box::pin(async move { Ok(grpc.server_streaming(Watch(policies), request).await) })
            }
            _ => {
                let unknown =
                    Status::new(Code::Unimplemented, "the outbound policy service has no such method");
                Box::pin(async move { Ok(unknown.into_http()) })
            }
        }
    }
}

impl NamedService for OutboundServer {
    const NAME: &'static str = SERVICE_NAME;
}

impl UnaryService<TrafficSpec> for Get {
    type Response = OutboundPolicy;
    type Future = Answered<OutboundPolicy>;

    fn call(&mut self, request: tonic::Request<TrafficSpec>) -> Self::Future {
        ready(self.0.get(request.get_ref()).map(tonic::Response::new))
    }
}

impl ServerStreamingService<TrafficSpec> for Watch {
    type Response = OutboundPolicy;
    type ResponseStream = Stream<OutboundPolicy>;
    type Future = Answered<Stream<OutboundPolicy>>;

    fn call(&mut self, request: tonic::Request<TrafficSpec>) -> Self::Future {
        ready(self.0.watch(request.get_ref()).map(tonic::Response::new))
    }
}
