//! Requests and answers of 1 KB: HTTP/1.1 on the epoll loop, HTTP/2 on the `h2` crate.

mod answer;
mod ends;
mod http1;
mod http2;
mod http2_server;
mod timer;

pub(super) use self::{
    answer::HTTP1_ANSWER,
    ends::Ends,
    http1::{Connection, Http1},
    http2::{Http2, Pace},
    http2_server::Http2Server,
};

/// The length of an answer's body. gRPC adds its prefix.
const BODY: usize = 1024;

/// Before each gRPC message: not compressed, and its length.
const PREFIX: usize = 5;

/// A gRPC message: prefix and `BODY` bytes.
pub(in crate::bench) fn message() -> Vec<u8> {
    let length = u32::try_from(BODY).unwrap_or(u32::MAX);
    let mut message = vec![0];
    message.extend(length.to_be_bytes());
    message.resize(PREFIX + BODY, b'x');
    message
}

#[cfg(test)]
mod tests;
