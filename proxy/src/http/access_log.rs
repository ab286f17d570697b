//! The access log of inbound requests, in Linkerd's formats (annotation `config.linkerd.io/access-log`).
//!
//! Lines go to standard error, written by a thread of their own: a request never waits for a slow terminal or disk. When
//! that thread falls behind, lines are dropped and counted.

use std::{
    fmt,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::SystemTime,
};

use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Uri, Version, header};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter},
};
use serde::Serialize;

use super::record::{self, Observer};
use crate::{
    tls::Identity,
    workload::{AccessLogFormat, Workload},
};

/// Lines that wait to be written.
const MAX_WAITING: usize = 8_192;
/// Longer values are cut: clients choose them.
const MAX_VALUE: usize = 1_024;

/// Lines that were dropped because the writer was behind.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The metric of lines that were dropped.
#[derive(Debug)]
pub(super) struct DroppedLines;

impl Collector for DroppedLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Lines of access logs that were dropped because the writer was behind.";
        let name = "weft_access_log_dropped_lines";
        ConstCounter::new(DROPPED.load(Ordering::Relaxed)).encode(encoder.encode_descriptor(
            name,
            help,
            None,
            MetricType::Counter,
        )?)
    }
}

/// One request, from its head to the end of its response.
pub(super) struct Entry {
    format: AccessLogFormat,
    workload: Arc<Workload>,
    client: SocketAddr,
    client_id: Option<String>,
    timestamp: SystemTime,
    method: Method,
    uri: Uri,
    version: Version,
    host: String,
    user_agent: String,
    trace_id: String,
    request_bytes: String,
    response_bytes: String,
}

/// The fields of a line in JSON, in Linkerd's order.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "client.addr")]
    client_addr: String,
    #[serde(rename = "client.id")]
    client_id: &'a str,
    host: &'a str,
    method: &'a str,
    namespace: &'a str,
    pod: &'a str,
    processing_ns: String,
    request_bytes: &'a str,
    response_bytes: &'a str,
    status: u16,
    timestamp: String,
    total_ns: String,
    trace_id: &'a str,
    uri: String,
    user_agent: &'a str,
    version: String,
}

impl Entry {
    pub(super) fn new<B>(
        format: AccessLogFormat,
        request: &Request<B>,
        workload: &Arc<Workload>,
        client: SocketAddr,
        identity: Option<&Identity>,
    ) -> Self {
        let headers = request.headers();
        let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
        Self {
            format,
            workload: workload.clone(),
            client,
            client_id: identity.map(ToString::to_string),
            timestamp: SystemTime::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            host: host.unwrap_or_else(|| value(headers, &header::HOST)),
            user_agent: value(headers, &header::USER_AGENT),
            trace_id: trace_id(headers),
            request_bytes: value(headers, &header::CONTENT_LENGTH),
            response_bytes: String::new(),
        }
    }

    fn line(&self, end: &record::End) -> String {
        let status = end.status.map_or(0, |status| status.as_u16());
        let timestamp = humantime::format_rfc3339_nanos(self.timestamp).to_string();
        let uri = cut(&self.uri.to_string());
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        match self.format {
            AccessLogFormat::Apache => format!(
                "{} {} - [{timestamp}] \"{} {uri} {:?}\" {status} {} \"{}\"\n",
                self.client,
                or_dash(self.client_id.as_deref().unwrap_or("")),
                self.method,
                self.version,
                or_dash(&self.response_bytes),
                self.workload.key,
            ),
            AccessLogFormat::Json => {
                let key = &self.workload.key;
                let line = Line {
                    client_addr: self.client.to_string(),
                    client_id: self.client_id.as_deref().unwrap_or(""),
                    host: &self.host,
                    method: self.method.as_str(),
                    namespace: &key.namespace,
                    pod: &key.name,
                    processing_ns: end.processing.as_nanos().to_string(),
                    request_bytes: &self.request_bytes,
                    response_bytes: &self.response_bytes,
                    status,
                    timestamp,
                    total_ns: end.total.as_nanos().to_string(),
                    trace_id: &self.trace_id,
                    uri,
                    user_agent: &self.user_agent,
                    version: format!("{:?}", self.version),
                };
                serde_json::to_string(&line).unwrap_or_default() + "\n"
            }
        }
    }
}

impl Observer for Entry {
    fn responded(&mut self, _: StatusCode, headers: &HeaderMap) {
        self.response_bytes = value(headers, &header::CONTENT_LENGTH);
    }

    fn ended(&mut self, end: &record::End) {
        write(self.line(end));
    }
}

fn write(line: String) {
    static WRITER: LazyLock<Option<SyncSender<String>>> = LazyLock::new(|| {
        let (send, lines) = sync_channel::<String>(MAX_WAITING);
        let run = move || {
            for line in lines {
                // Nobody is left to tell if standard error is gone.
                let _ = std::io::stderr().lock().write_all(line.as_bytes());
            }
        };
        thread::Builder::new().name("weft-access-log".to_owned()).spawn(run).ok().map(|_| send)
    });
    let sent = WRITER.as_ref().map(|writer| writer.try_send(line));
    if !matches!(sent, Some(Ok(()))) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

fn value(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).map(|value| cut(&String::from_utf8_lossy(value.as_bytes()))).unwrap_or_default()
}

/// Bounds a value, and takes out what could break a line or a terminal.
fn cut(text: &str) -> String {
    text.chars().take(MAX_VALUE).map(|c| if c.is_control() || c == '"' { '?' } else { c }).collect()
}

/// The trace's id in W3C or B3 headers.
fn trace_id(headers: &HeaderMap) -> String {
    let w3c = value(headers, &HeaderName::from_static("traceparent"));
    match w3c.split('-').nth(1) {
        Some(id) => id.to_owned(),
        None => value(headers, &HeaderName::from_static("x-b3-traceid")),
    }
}
