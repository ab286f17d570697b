//! What does a connection begin with, whoever speaks first?
//!
//! A client of the mesh begins with a ClientHello for this pod. Other clients begin with something else, or wait
//! for the application to speak: for them the application is dialled at once, and its first words decide. A
//! client that is known to be meshed is given the time to say its hello, however slow, because answering it in
//! plaintext would break it.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::application;
use crate::{
    app::Shared,
    detect::{Hello, MAX_HELLO, Prefixed, client_hello},
    policy::Client,
    workloads::Workload,
};

/// A ClientHello with a post-quantum key share and a ticket comes in one read.
const HELLO: usize = 4096;

/// What a connection turned out to be.
pub(super) struct First {
    pub(super) kind: Kind,
    pub(super) stream: Prefixed<TcpStream>,
    /// The application, if it has been dialled already: it must not see a second connection for the same client.
    pub(super) application: Option<TcpStream>,
}

/// What a client speaks.
pub(super) enum Kind {
    /// mTLS for this pod.
    Mtls,
    /// The application's own TLS.
    Tls { sni: Option<String> },
    /// Anything else.
    Plain,
}

/// It did not come so far.
pub(super) struct Failed {
    pub(super) stream: TcpStream,
    /// For the metrics; `None`: the client just went away.
    pub(super) error: Option<&'static str>,
    pub(super) errno: Option<&'static str>,
}

/// A connection whose first bytes are still to come.
pub(super) struct Opening<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) workload: &'a Arc<Workload>,
    pub(super) target: SocketAddr,
    pub(super) client: SocketAddr,
    pub(super) deadline: Instant,
}

enum Event {
    /// How many bytes the client sent; 0: it will send no more.
    Client(io::Result<usize>),
    /// Whether the client is meshed, if that is known.
    Known(Option<bool>),
    Spoke,
    Silence,
}

impl Opening<'_> {
    pub(super) async fn read(&self, mut stream: TcpStream) -> Result<First, Failed> {
        let mut bytes = BytesMut::with_capacity(HELLO);
        let mut dialled: Option<TcpStream> = None;
        let mut ask = Box::pin(self.client_is_meshed());
        // Plaintext that policy turns away anyway needs no application.
        let mut asking = self.admits_plaintext();
        loop {
            let event = tokio::select! {
                biased;
                read = stream.read_buf(&mut bytes) => Event::Client(read),
                meshed = &mut ask, if asking => Event::Known(meshed),
                () = speaks(dialled.as_ref()), if bytes.is_empty() => Event::Spoke,
                () = tokio::time::sleep_until(self.deadline) => Event::Silence,
            };
            match event {
                Event::Client(Ok(0)) => return Ok(first(Kind::Plain, bytes, stream, dialled)),
                Event::Client(Ok(_)) => match client_hello(&bytes) {
                    // It has begun to say its hello: what the application may say meanwhile decides nothing.
                    Hello::Incomplete if bytes.len() < MAX_HELLO => asking = false,
                    Hello::Tls { sni } => {
                        let ours = sni.as_deref() == Some(self.workload.identity.as_str());
                        let kind = if ours { Kind::Mtls } else { Kind::Tls { sni } };
                        return Ok(first(kind, bytes, stream, dialled));
                    }
                    _ => return Ok(first(Kind::Plain, bytes, stream, dialled)),
                },
                Event::Client(Err(error)) => {
                    return Err(Failed { stream, error: None, errno: Some(crate::tcp::errno(&error)) });
                }
                Event::Known(meshed) => {
                    asking = false;
                    if meshed != Some(true) {
                        let dial = application(self.shared, self.workload, self.target, self.client, false);
                        match timeout_at(self.deadline, dial).await {
                            Ok(Ok(application)) => dialled = Some(application),
                            Ok(Err(error)) => {
                                return Err(Failed {
                                    stream,
                                    error: Some("connect"),
                                    errno: Some(error.errno()),
                                });
                            }
                            Err(_) => {}
                        }
                    }
                }
                Event::Spoke => return Ok(first(Kind::Plain, bytes, stream, dialled)),
                Event::Silence if bytes.is_empty() && self.admits_plaintext() => {
                    return Ok(first(Kind::Plain, bytes, stream, dialled));
                }
                Event::Silence => {
                    return Err(Failed {
                        stream,
                        error: Some("tls detection timeout"),
                        errno: Some("ETIMEDOUT"),
                    });
                }
            }
        }
    }

    /// Strangers from outside the cluster are not asked for: they could be any number.
    async fn client_is_meshed(&self) -> Option<bool> {
        let ip = self.client.ip();
        if !self.shared.cluster_networks.iter().any(|network| network.contains(&ip)) {
            return Some(false);
        }
        self.shared.discovery.peer_is_meshed(self.client).await
    }

    fn admits_plaintext(&self) -> bool {
        let client = Client { ip: self.client.ip(), identity: None };
        let port = self.workload.terms().policies.port(self.target.port());
        port.policy.authorize(client, &self.shared.cluster_networks).admits()
    }
}

fn first(kind: Kind, bytes: BytesMut, stream: TcpStream, application: Option<TcpStream>) -> First {
    First { kind, stream: Prefixed::new(bytes.freeze(), stream), application }
}

/// Resolves when the application has said something or gone away.
async fn speaks(application: Option<&TcpStream>) {
    match application {
        Some(application) => {
            let _ = application.readable().await;
        }
        None => std::future::pending().await,
    }
}
