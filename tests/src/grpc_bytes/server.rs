//! A server of `weft.test.Bytes` inside a pod.

use std::{
    convert::Infallible,
    future::{self, Future},
    net::{Ipv6Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread,
};

use anyhow::Result;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, BoxStream, Service, http},
    metadata::MetadataValue,
    server::{Grpc, NamedService},
    transport::{Server, server::TcpIncoming},
};

use super::{LARGEST, NAME, codec::BytesCodec};
use crate::mesh::Pod;

/// A running server. It stops when this is dropped.
pub struct BytesServer {
    _stop: oneshot::Sender<()>,
}

impl BytesServer {
    /// Serves a port of both address families.
    pub fn start(pod: &Pod, port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let listener = pod.netns().run(|| TcpListener::bind(address))??;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("tonic".into()).spawn(move || {
            let served = runtime.block_on(async {
                let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?);
                tokio::select! {
                    served = Server::builder().add_service(TestService::default()).serve_with_incoming(incoming) => served?,
                    // Open connections end with it.
                    _ = stopped => {}
                }
                anyhow::Ok(())
            });
            if let Err(e) = served {
                eprintln!("tonic: {e:#}");
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

#[derive(Clone, Default)]
struct TestService {
    /// Calls of Wait whose client went away or whose deadline passed.
    ended: Arc<AtomicU64>,
}

impl NamedService for TestService {
    const NAME: &'static str = NAME;
}

impl Service<http::Request<Body>> for TestService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let ended = self.ended.clone();
        Box::pin(async move {
            let mut grpc =
                Grpc::new(BytesCodec).max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST);
            let path = request.uri().path().to_owned();
            Ok(match path.strip_prefix(&format!("/{NAME}/")) {
                Some("Echo") => grpc.unary(Call(echo), request).await,
                Some("Fail") => grpc.unary(Call(fail), request).await,
                Some("Wait") => grpc.unary(Call(move |_| wait(ended.clone())), request).await,
                Some("Ended") => grpc.unary(Call(move |_| count_ended(&ended)), request).await,
                Some("Count") => grpc.server_streaming(Call(count), request).await,
                Some("Sum") => grpc.client_streaming(Call(sum), request).await,
                Some("Chat") => grpc.streaming(Call(chat), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// Sends the message back, and the metadata x-sent and x-data-bin as headers.
async fn echo(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let (metadata, _, message) = request.into_parts();
    let mut response = Response::new(message);
    if let Some(sent) = metadata.get("x-sent") {
        response.metadata_mut().insert("x-header", sent.clone());
    }
    if let Some(sent) = metadata.get_bin("x-data-bin") {
        response.metadata_mut().insert_bin("x-data-bin", sent.clone());
    }
    Ok(response)
}

async fn fail(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let mut status =
        Status::not_found(format!("no such thing: {}", String::from_utf8_lossy(request.get_ref())));
    status.metadata_mut().insert("x-trailer", MetadataValue::from_static("failed"));
    Err(status)
}

/// Never answers; counts its end.
async fn wait(ended: Arc<AtomicU64>) -> Result<Response<Bytes>, Status> {
    struct Counted(Arc<AtomicU64>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let _counted = Counted(ended);
    future::pending().await
}

fn count_ended(ended: &AtomicU64) -> impl Future<Output = Result<Response<Bytes>, Status>> + use<> {
    let ended = ended.load(Ordering::SeqCst).to_string();
    future::ready(Ok(Response::new(ended.into())))
}

/// Sends as many messages as the request says.
async fn count(request: Request<Bytes>) -> Result<Response<BoxStream<Bytes>>, Status> {
    let last: u64 = std::str::from_utf8(request.get_ref())
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Status::invalid_argument("no number"))?;
    let messages = tokio_stream::iter(0..last).map(|number| Ok(Bytes::from(number.to_string())));
    Ok(Response::new(Box::pin(messages)))
}

/// Returns the length of all messages.
async fn sum(request: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let mut messages = request.into_inner();
    let mut total = 0;
    while let Some(message) = messages.message().await? {
        total += message.len();
    }
    Ok(Response::new(total.to_string().into()))
}

/// Sends every message back at once.
async fn chat(
    request: Request<Streaming<Bytes>>,
) -> Result<Response<impl Stream<Item = Result<Bytes, Status>>>, Status> {
    Ok(Response::new(request.into_inner()))
}

/// A function as a service.
struct Call<F>(F);

impl<F, R, M, O> Service<Request<R>> for Call<F>
where
    F: FnMut(Request<R>) -> O,
    O: Future<Output = Result<Response<M>, Status>>,
{
    type Response = Response<M>;
    type Error = Status;
    type Future = O;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<R>) -> O {
        (self.0)(request)
    }
}
