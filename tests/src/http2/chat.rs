//! Conversations on one stream: the server sends back each part of a request before the client sends the next one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use h2::{RecvStream, client::SendRequest, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::time::{sleep, timeout};

use super::{Client, Response};
use crate::{dial, wait};

/// Marks a request for a conversation.
pub(super) const MARK: HeaderName = HeaderName::from_static("x-chat");

impl Client {
    /// Sends the body in parts, with a pause before each, and waits for each to come back. Returns what came back.
    pub fn chat(&self, request: Request<Vec<u8>>, part: usize, pause: Duration) -> Result<Response> {
        let sender = self.sender.clone();
        let limit = wait::here(dial::TIMEOUT);
        self.runtime.block_on(async {
            let talking = timeout(limit, talk(sender, request, part, pause)).await;
            talking.with_context(|| format!("no response within {limit:?}"))?
        })
    }
}

async fn talk(
    sender: SendRequest<Bytes>,
    request: Request<Vec<u8>>,
    part: usize,
    pause: Duration,
) -> Result<Response> {
    let mut sender = sender.ready().await.context("the connection takes no more requests")?;
    let (mut head, body) = request.into_parts();
    head.headers.insert(MARK, HeaderValue::from_static("1"));
    let (response, mut stream) = sender.send_request(Request::from_parts(head, ()), false)?;
    let (head, mut incoming) = response.await.context("the response's head")?.into_parts();
    let mut back = Vec::new();
    // An answer of the proxy's own has no body.
    if !incoming.is_end_stream() {
        for part in body.chunks(part.max(1)) {
            sleep(pause).await;
            stream.send_data(Bytes::copy_from_slice(part), false)?;
            let expected = back.len() + part.len();
            while back.len() < expected {
                let Some(received) = incoming.data().await else { break };
                let received = received.context("the response's body")?;
                incoming.flow_control().release_capacity(received.len())?;
                back.extend_from_slice(&received);
            }
            ensure!(back.len() <= expected, "more came back than was sent");
        }
        stream.send_data(Bytes::new(), true)?;
        while let Some(received) = incoming.data().await {
            back.extend_from_slice(&received.context("the response's body")?);
        }
    }
    let trailers = incoming.trailers().await.context("the response's trailers")?.unwrap_or_default();
    Ok(Response { status: head.status.as_u16(), headers: head.headers, body: back, trailers })
}

/// The server's side; the header `x-id` is sent back, too.
pub(super) async fn answer(
    headers: &HeaderMap,
    mut incoming: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> Result<()> {
    let mut response = http::Response::new(());
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    if let Some(id) = headers.get("x-id") {
        response.headers_mut().insert("x-id", id.clone());
    }
    let mut stream = respond.send_response(response, false)?;
    while let Some(part) = incoming.data().await {
        let part = part?;
        incoming.flow_control().release_capacity(part.len())?;
        stream.send_data(part, false)?;
    }
    let status = [(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))];
    stream.send_trailers(HeaderMap::from_iter(status))?;
    Ok(())
}
