//! The dashboard, forwarded by `weft viz dashboard`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use weft_tests::kubernetes::{Cluster, wait};

use super::installed::with_viz;

/// `weft viz dashboard`, until this is dropped.
struct Dashboard {
    child: Child,
    /// As in `localhost:50750`.
    host: String,
}

impl Dashboard {
    fn start(cluster: &Cluster) -> Result<Self> {
        let mut command = cluster.weft_command(&["viz", "dashboard", "--show", "url", "-p", "0"])?;
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        // Dropped, and so ended, if what follows fails.
        let mut dashboard = Self { child, host: String::new() };
        for line in output.lines() {
            if let Some(host) = line?.strip_prefix("http://") {
                dashboard.host = host.trim().to_owned();
                return Ok(dashboard);
            }
        }
        anyhow::bail!("weft viz dashboard has printed no address")
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn the_dashboard_is_forwarded() -> Result<()> {
    with_viz(|cluster| {
        let dashboard = Dashboard::start(cluster)?;
        let host = &dashboard.host;
        let page = get(host, host, "/", "")?;
        ensure!(page.starts_with("HTTP/1.1 200") && page.contains("<html"), "{page}");
        ensure!(page.to_lowercase().contains("content-security-policy: default-src 'self'"), "{page}");
        let overview = get(host, host, "/api/overview", "")?;
        ensure!(overview.starts_with("HTTP/1.1 200") && overview.contains("voting"), "{overview}");
        for name in ["web.weft-viz.svc.cluster.local:8084", "web.weft-viz.svc:8084", "127.0.0.1:1"] {
            let page = get(host, name, "/api/version", "")?;
            ensure!(page.starts_with("HTTP/1.1 200"), "{name}: {page}");
        }
        // A page of an attacker whose name leads to the dashboard's address.
        for path in ["/", "/api/version"] {
            let page = get(host, "attacker.example", path, "")?;
            ensure!(page.starts_with("HTTP/1.1 400") && page.contains("attacker.example"), "{path}: {page}");
        }
        Ok(())
    })
}

/// The whole answer to a request with this Host. `more` are further header lines.
pub(super) fn get(address: &str, host: &str, path: &str, more: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
    stream.set_read_timeout(Some(wait::EVENTUALLY))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The head of the answer to a WebSocket's first request.
pub(super) fn upgrade(address: &str, host: &str, path: &str, origin: &str) -> Result<String> {
    Ok(open_socket(address, host, path, &format!("Origin: {origin}\r\n"))?.0)
}

/// The first message of a WebSocket for which this holds. `more` are further header lines.
pub(super) fn first_message(
    address: &str,
    host: &str,
    path: &str,
    more: &str,
    is_it: impl Fn(&str) -> bool,
) -> Result<String> {
    let (head, mut stream) = open_socket(address, host, path, more)?;
    ensure!(head.starts_with("HTTP/1.1 101"), "{head}");
    let begun = std::time::Instant::now();
    let mut seen = Vec::new();
    while begun.elapsed() < wait::EVENTUALLY {
        let text = frame(&mut stream).with_context(|| format!("messages so far: {seen:?}"))?;
        if is_it(&text) {
            return Ok(text);
        }
        seen.push(text);
    }
    anyhow::bail!("the message did not come: {seen:?}")
}

/// The payload of a frame. The dashboard's are neither masked nor split.
fn frame(stream: &mut TcpStream) -> Result<String> {
    const MAX_FRAME: u64 = 16 << 20;
    let mut start = [0; 2];
    stream.read_exact(&mut start)?;
    let length = match start[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    ensure!(length <= MAX_FRAME, "a frame of {length} bytes");
    let mut payload = Vec::new();
    stream.take(length).read_to_end(&mut payload)?;
    Ok(String::from_utf8_lossy(&payload).into_owned())
}

fn open_socket(address: &str, host: &str, path: &str, more: &str) -> Result<(String, TcpStream)> {
    let mut stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
    stream.set_read_timeout(Some(wait::EVENTUALLY))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 << 10 && stream.read(&mut byte)? > 0 {
        head.push(byte[0]);
    }
    Ok((String::from_utf8_lossy(&head).into_owned(), stream))
}
