//! A small HTTP client that reads the daemons' readiness and metrics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::{Error, Result};

/// How long an admin server may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than any metrics page should have.
const MAX_BYTES: u64 = 64 << 20;

/// A response: its status and its body.
#[derive(Clone, Debug)]
pub struct Response {
    /// As in 200.
    pub status: u16,
    /// As text.
    pub body: String,
}

/// Makes one GET request. HTTP/1.0: the body ends with the connection, and is never chunked.
pub fn get(address: SocketAddr, path: &str) -> Result<Response> {
    get_within(address, path, TIMEOUT)
}

/// The same; each step (connecting, every read and write) may take as long as `timeout`.
pub(crate) fn get_within(address: SocketAddr, path: &str, timeout: Duration) -> Result<Response> {
    fetch(address, path, timeout).map_err(|reason| Error::Http { address, path: path.to_owned(), reason })
}

fn fetch(address: SocketAddr, path: &str, timeout: Duration) -> Result<Response, String> {
    let text = exchange(address, path, timeout).map_err(|error| error.to_string())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("not an HTTP response")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.get(..3)?.parse().ok())
        .ok_or("not an HTTP status line")?;
    Ok(Response { status, body: body.to_owned() })
}

fn exchange(address: SocketAddr, path: &str, timeout: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
