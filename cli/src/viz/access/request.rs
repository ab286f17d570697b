//! Sends GET requests over one connection, and reads bounded answers.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// 10 000 rows take about 5 MB.
const MAX_ANSWER: usize = 128 << 20;

pub(super) type Sender = SendRequest<Empty<Bytes>>;

/// Begins HTTP/1.1 on a stream. The connection ends when the sender is dropped.
pub(super) async fn begin<S>(stream: S) -> Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.context("weft-viz does not speak HTTP")?;
    // An error of the connection is the error of its requests, too.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

pub(super) fn request(host: &str, path: &str, token: Option<&str>) -> Result<Request<Empty<Bytes>>> {
    let mut request = Request::get(path)
        .header("host", host)
        .header("user-agent", concat!("weft/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Empty::new()).with_context(|| format!("{path} cannot be requested"))
}

/// The status and the whole body.
pub(super) async fn whole(response: Response<Incoming>, limit: Duration) -> Result<(StatusCode, Bytes)> {
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
    let body = tokio::time::timeout(limit, body)
        .await
        .map_err(|_| anyhow!("weft-viz did not finish its answer within {} s", limit.as_secs()))?
        .map_err(|error| anyhow!("the answer of weft-viz broke off: {error}"))?;
    Ok((status, body.to_bytes()))
}

/// `host:port` of a URL such as http://127.0.0.1:8084.
pub(super) fn host_of(url: &str) -> Result<String> {
    let uri: http::Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
    let host = uri.host().ok_or_else(|| anyhow!("the URL {url:?} has no host"))?;
    if uri.scheme_str() != Some("http") {
        return Err(anyhow!("the URL {url:?} does not start with http://"));
    }
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}
