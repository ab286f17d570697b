//! Requests and responses as whole messages.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderMap, Request, request::Parts};

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// A whole request, as a server received it.
pub struct Received {
    pub head: Parts,
    pub body: Vec<u8>,
    /// The client's address, as accept() returned it.
    pub peer: SocketAddr,
    /// The number of its connection, from 0.
    pub connection: u64,
}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// Before the head; `None`: never.
    pub delay: Option<Duration>,
    /// What comes then instead of a head.
    pub break_off: Option<BreakOff>,
}

/// How a server ends a request that it does not answer.
#[derive(Clone, Copy, Debug)]
pub enum BreakOff {
    /// It resets the stream.
    Stream(h2::Reason),
    /// It resets the connection.
    Connection,
}

impl Response {
    /// The code of gRPC, in trailers or in headers.
    pub fn grpc_status(&self) -> Option<u16> {
        let code = self.trailers.get("grpc-status").or_else(|| self.headers.get("grpc-status"))?;
        code.to_str().ok()?.parse().ok()
    }

    /// A header as text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Received {
    /// A header as text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        text(&self.head.headers, name)
    }
}

impl Answer {
    /// A response of HTTP, at once.
    pub fn http(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let delay = Some(Duration::ZERO);
        Self { status, headers: HeaderMap::new(), body: body.into(), trailers: None, delay, break_off: None }
    }

    /// A response of gRPC with one message, at once.
    pub fn grpc(code: u16) -> Self {
        let mut answer = Self::http(200, frame(b"answer"));
        answer.headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
        answer.trailers = Some(HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from(code),
        )]));
        answer
    }

    /// The same, later.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay: Some(delay), ..self }
    }

    /// No response, but an end.
    pub fn broken(how: BreakOff) -> Self {
        Self { break_off: Some(how), ..Self::http(200, "") }
    }

    /// No response.
    pub fn never() -> Self {
        Self { delay: None, ..Self::http(200, "") }
    }
}

/// A request without a body.
pub fn get(host: &str, path: &str) -> Request<Vec<u8>> {
    request("GET", host, path, Vec::new())
}

/// A request with a body.
pub fn post(host: &str, path: &str, body: impl Into<Vec<u8>>) -> Request<Vec<u8>> {
    request("POST", host, path, body.into())
}

/// A unary call of gRPC.
pub fn grpc(host: &str, path: &str) -> Request<Vec<u8>> {
    let mut request = post(host, path, frame(b"question"));
    let headers = request.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
    headers.insert("te", http::HeaderValue::from_static("trailers"));
    request
}

fn request(method: &str, host: &str, path: &str, body: Vec<u8>) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(format!("http://{host}{path}"));
    request.body(body).expect("the parts come from a scenario's text")
}

/// A message of gRPC: not compressed, its length, its bytes.
fn frame(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
