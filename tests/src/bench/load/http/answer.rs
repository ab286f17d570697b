//! The answer of the HTTP/1.1 server, and how much of one a client has received.

use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};

use super::BODY;

/// Head and body.
pub(in crate::bench::load) static HTTP1_ANSWER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {BODY}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + BODY, b'x');
    answer
});

/// A proxy adds a few; this is more than any does.
const MAX_HEADERS: usize = 32;

/// The length of the answer that begins with `bytes`; `None` until its head is complete.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(bytes).context("an answer")? else {
        return Ok(None);
    };
    let code = answer.code.unwrap_or_default();
    ensure!(code == 200, "the answer has status {code}");
    let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("an answer without content-length")?.value;
    ensure!(length == BODY.to_string().as_bytes(), "an answer of {} bytes", length.escape_ascii());
    Ok(Some(head + BODY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_known_once_the_head_is_complete() {
        let head = HTTP1_ANSWER.len() - BODY;
        assert_eq!(length(&HTTP1_ANSWER).expect("answer"), Some(HTTP1_ANSWER.len()));
        assert_eq!(length(&HTTP1_ANSWER[..head]).expect("head"), Some(HTTP1_ANSWER.len()));
        assert_eq!(length(&HTTP1_ANSWER[..head - 1]).expect("part"), None);
    }

    #[test]
    fn other_answers_are_refused() {
        for other in
            ["503 Unavailable\r\ncontent-length: 1024", "200 OK\r\ncontent-length: 3", "200 OK\r\na: b"]
        {
            let answer = format!("HTTP/1.1 {other}\r\n\r\n");
            assert!(length(answer.as_bytes()).is_err(), "{other}");
        }
        assert!(length(b"garbage\r\n\r\n").is_err());
    }
}
