//! Clients that keep sending requests until they are stopped, and check every response.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    dial,
    http::{Message, To, Wire},
    http2,
    mesh::{Mesh, Pod},
    netns::Netns,
    wait,
};

use super::ways::ok;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

pub(crate) const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// Running clients. Each keeps its connection as long as the server side does.
pub(crate) struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Responses by the name of the server.
    pub(crate) answered: BTreeMap<String, u64>,
    pub(crate) connections: u64,
    /// Connections that the other side closed in the moment in which a request was sent. It was sent again.
    pub(crate) races: u64,
    pub(crate) failures: BTreeMap<String, u64>,
}

struct Shared {
    netns: Netns,
    target: SocketAddr,
    pause: Duration,
    stop: AtomicBool,
    number: AtomicU64,
    outcome: Mutex<Outcome>,
}

impl Load {
    /// Starts `clients` in a pod, each of which pauses between two requests. Their servers are [`Named`].
    pub(crate) fn start(
        client: &Pod<'_>,
        target: SocketAddr,
        protocol: Protocol,
        clients: usize,
        pause: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            netns: client.netns().clone(),
            target,
            pause,
            stop: AtomicBool::new(false),
            number: AtomicU64::new(0),
            outcome: Mutex::default(),
        });
        let workers = (0..clients)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || match protocol {
                    Protocol::Http1 => shared.keep_asking(&mut OverHttp1::default()),
                    Protocol::Http2 => shared.keep_asking(&mut OverHttp2::default()),
                })
            })
            .collect();
        Self { shared, workers }
    }

    pub(crate) fn so_far(&self) -> Outcome {
        self.shared.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for `more` further responses.
    pub(crate) fn keep_on(&self, more: u64) -> Result<()> {
        let goal = self.so_far().total() + more;
        wait::until(&format!("{more} more responses"), || self.so_far().total() >= goal)
            .with_context(|| format!("{:?}", self.so_far()))
    }

    pub(crate) fn stop(mut self) -> Outcome {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            // A panic has already been printed.
            let _ = worker.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Outcome {
    pub(crate) fn total(&self) -> u64 {
        self.answered.values().sum()
    }

    pub(crate) fn by(&self, server: &str) -> u64 {
        self.answered.get(server).copied().unwrap_or_default()
    }

    /// Fails unless there were responses and no failures.
    pub(crate) fn no_failures(&self) -> Result<()> {
        ensure!(self.total() > 0, "there were no responses");
        ensure!(self.failures.is_empty(), "{:?} beside {} responses", self.failures, self.total());
        Ok(())
    }
}

/// One request after the other, each with a number.
trait Ask {
    /// Returns the text of the response.
    fn ask(&mut self, shared: &Shared, number: u64) -> Result<String>;
}

impl Shared {
    fn keep_asking(&self, client: &mut impl Ask) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let result = client.ask(self, number).and_then(|text| {
                let (server, answered) = text.split_once(' ').context("no number")?;
                ensure!(answered == number.to_string(), "the response to {answered} for request {number}");
                Ok(server.to_owned())
            });
            self.note(|outcome| match result {
                Ok(server) => *outcome.answered.entry(server).or_default() += 1,
                Err(e) => *outcome.failures.entry(format!("{e:#}")).or_default() += 1,
            });
            thread::sleep(self.pause);
        }
    }

    fn note(&self, change: impl FnOnce(&mut Outcome)) {
        change(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn connect(&self) -> Result<std::net::TcpStream> {
        self.note(|outcome| outcome.connections += 1);
        Ok(dial::from(&self.netns, self.target)?)
    }
}

#[derive(Default)]
struct OverHttp1(Option<Wire>);

impl Ask for OverHttp1 {
    fn ask(&mut self, shared: &Shared, number: u64) -> Result<String> {
        loop {
            let reused = self.0.is_some();
            let mut wire = match self.0.take() {
                Some(wire) => wire,
                None => Wire::new(shared.connect()?),
            };
            let request = format!("GET /{number} HTTP/1.1\r\nHost: origin.test\r\n\r\n");
            let begun = wire.send(request).is_ok() && wire.begins()?;
            if !begun && reused {
                // RFC 9112, section 9.3.1: a server may close an idle connection at any time, and the client retries.
                shared.note(|outcome| outcome.races += 1);
                continue;
            }
            ensure!(begun, "a new connection was closed without a response");
            let response = Message::final_response(&mut wire, To::Other)?;
            ensure!(response.head.status() == 200, "{:?}", response.head);
            if response.head.values("connection") != ["close"] {
                self.0 = Some(wire);
            }
            return Ok(response.text());
        }
    }
}

#[derive(Default)]
struct OverHttp2(Option<http2::Client>);

impl Ask for OverHttp2 {
    fn ask(&mut self, shared: &Shared, number: u64) -> Result<String> {
        loop {
            let open = self.0.take().filter(http2::Client::is_open);
            let reused = open.is_some();
            let client = match open {
                Some(client) => client,
                None => http2::Client::over(shared.connect()?)?,
            };
            let response = match client.send(http2::get("origin.test", &format!("/{number}"))) {
                Err(error) if reused && http2::is_unprocessed(&error) => {
                    shared.note(|outcome| outcome.races += 1);
                    continue;
                }
                response => response?,
            };
            ensure!(response.status == 200, "{} {:?}", response.status, response.headers);
            self.0 = Some(client);
            return Ok(response.text());
        }
    }
}

/// A server of either protocol that answers with its name and the request's path, after a delay.
pub(crate) enum Named {
    Http1(weft_tests::http::Origin),
    Http2(http2::Server),
}

impl Named {
    pub(crate) fn start(
        mesh: &Mesh,
        pod: &str,
        port: u16,
        protocol: Protocol,
        delay: Duration,
    ) -> Result<Self> {
        let (name, pod) = (pod.to_owned(), mesh.pod(pod));
        match protocol {
            Protocol::Http1 => weft_tests::http::Origin::answering(&pod, port, move |request| {
                thread::sleep(delay);
                ok(format!("{name} {}", request.head.target().trim_start_matches('/')))
            })
            .map(Self::Http1),
            Protocol::Http2 => http2::Server::start(pod.netns(), port, move |request| {
                let path = request.head.uri.path().trim_start_matches('/');
                http2::Answer::http(200, format!("{name} {path}")).after(delay)
            })
            .map(Self::Http2),
        }
    }

    /// The number of requests so far.
    pub(crate) fn requests(&self) -> u64 {
        match self {
            Self::Http1(origin) => origin.requests().len() as u64,
            Self::Http2(server) => server.requests(),
        }
    }
}
