//! Detects what an inbound connection speaks, whichever side sends first.
//!
//! A client of the mesh begins with a ClientHello for this pod. Other clients begin with something else, or wait for the
//! application to send: for them the application is connected at once, and its first bytes decide. A client that is
//! known to be meshed gets the time to send its hello, however slow it is: plaintext would break it. Except while the pod
//! joins or leaves the mesh: then the client's proxy may take it for an unmeshed one.

use std::{fmt, io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::{first_bytes::application_speaks_first, identify::Ends};
use crate::{
    authorize::Authorizer,
    capture::Capture,
    detect::{Hello, MAX_HELLO, client_hello},
    discovery::Discovery,
    net::{ConnectFailure, Prefixed, errno},
    policy::Client,
    refusal::Reason,
    upstream::connect_application,
    workload::Workload,
};

/// A ClientHello with a post-quantum key share and a ticket fits in one read of this size.
const FIRST_READ: usize = 4096;

/// Within this time the hello of a meshed client usually arrives.
const HELLO_DELAY: Duration = Duration::from_millis(250);

/// What a connection turned out to be.
pub(super) struct Detected {
    pub(super) protocol: Protocol,
    pub(super) stream: Prefixed<TcpStream>,
    /// The application, if it has been connected already: it must not see a second connection for the same client.
    pub(super) application: Option<TcpStream>,
}

/// What the client speaks.
pub(super) enum Protocol {
    /// mTLS for this pod.
    Mtls,
    /// The application's own TLS.
    Tls { sni: Option<String> },
    /// Anything else. `server_first`: the application has sent something before the client did.
    Plain { server_first: bool },
    /// The client has closed its side without a byte.
    Nothing,
}

/// Detection did not come to an end.
pub(super) struct DetectionFailed {
    pub(super) stream: TcpStream,
    /// `None`: the client just went away.
    pub(super) reason: Option<Reason>,
    pub(super) error: Cause,
}

/// What went wrong.
pub(super) enum Cause {
    Client(io::Error),
    Application(ConnectFailure),
    Silence,
}

/// A connection whose first bytes are still to come.
pub(super) struct Detector<'a> {
    pub(super) capture: &'a Capture,
    pub(super) discovery: &'a Discovery,
    pub(super) authorizer: &'a Authorizer,
    pub(super) workload: &'a Arc<Workload>,
    pub(super) ends: Ends,
    pub(super) deadline: Instant,
}

enum Event {
    /// How many bytes the client sent; 0 means that it will send no more.
    Client(io::Result<usize>),
    /// Whether the client is meshed, if that is known.
    MeshedClient(Option<bool>),
    /// The application has sent something, closed or reset.
    ApplicationFirst(io::Result<()>),
    Deadline,
}

impl Detector<'_> {
    pub(super) async fn detect(&self, mut stream: TcpStream) -> Result<Detected, DetectionFailed> {
        let mut bytes = BytesMut::with_capacity(FIRST_READ);
        let mut application: Option<TcpStream> = None;
        let mut lookup = Box::pin(self.client_is_meshed());
        // Plaintext that policy denies anyway needs no application.
        let mut looking_up = self.allows_plaintext();
        loop {
            let event = tokio::select! {
                biased;
                read = stream.read_buf(&mut bytes) => Event::Client(read),
                meshed = &mut lookup, if looking_up => Event::MeshedClient(meshed),
                sent = application_speaks_first(application.as_ref()), if bytes.is_empty() => Event::ApplicationFirst(sent),
                () = tokio::time::sleep_until(self.deadline) => Event::Deadline,
            };
            let protocol = match event {
                Event::Client(Ok(0)) if bytes.is_empty() => Protocol::Nothing,
                Event::Client(Ok(0)) => Protocol::Plain { server_first: false },
                Event::ApplicationFirst(Ok(())) => Protocol::Plain { server_first: true },
                Event::ApplicationFirst(Err(error)) => {
                    return Err(DetectionFailed::by_application(stream, error.into()));
                }
                Event::Client(Ok(_)) => match client_hello(&bytes) {
                    Hello::Incomplete if bytes.len() < MAX_HELLO => {
                        // It has begun to send its hello: what the application may send meanwhile decides nothing.
                        looking_up = false;
                        continue;
                    }
                    Hello::Tls { sni } if sni.as_deref() == Some(self.workload.identity.as_str()) => {
                        Protocol::Mtls
                    }
                    Hello::Tls { sni } => Protocol::Tls { sni },
                    _ => Protocol::Plain { server_first: false },
                },
                Event::Client(Err(error)) => {
                    return Err(DetectionFailed { stream, reason: None, error: Cause::Client(error) });
                }
                Event::MeshedClient(Some(true)) => {
                    looking_up = false;
                    continue;
                }
                Event::MeshedClient(_) => {
                    looking_up = false;
                    match self.connect_application().await {
                        Ok(connected) => application = connected,
                        Err(failure) => return Err(DetectionFailed::by_application(stream, failure)),
                    }
                    continue;
                }
                Event::Deadline if bytes.is_empty() && self.allows_plaintext() => {
                    Protocol::Plain { server_first: false }
                }
                Event::Deadline => {
                    let reason = Some(Reason::DetectionTimeout);
                    return Err(DetectionFailed { stream, reason, error: Cause::Silence });
                }
            };
            let stream = Prefixed::new(bytes.freeze(), stream);
            return Ok(Detected { protocol, stream, application });
        }
    }

    /// `None`: not before the deadline.
    async fn connect_application(&self) -> Result<Option<TcpStream>, ConnectFailure> {
        let Ends { target, client, .. } = self.ends;
        let connect = connect_application(self.capture, self.workload, target, client, false);
        timeout_at(self.deadline, connect).await.map_or(Ok(None), |connected| connected.map(Some))
    }

    /// Clients from outside the cluster are not looked up: there could be any number of them. While peers may not know
    /// that this pod is served, or still served, a meshed client may speak plaintext, so it is not waited for any longer
    /// than a hello usually takes.
    async fn client_is_meshed(&self) -> Option<bool> {
        let ip = self.ends.client.ip();
        if !self.authorizer.cluster_networks().iter().any(|network| network.contains(&ip)) {
            return Some(false);
        }
        let meshed = self.discovery.peer_is_meshed(self.ends.client).await;
        if meshed == Some(true) && self.workload.is_changing() {
            sleep(HELLO_DELAY).await;
            return None;
        }
        meshed
    }

    fn allows_plaintext(&self) -> bool {
        let client = Client { ip: self.ends.client.ip(), identity: None };
        self.authorizer.decide(self.workload, self.ends.target, client).admits()
    }
}

impl DetectionFailed {
    fn by_application(stream: TcpStream, failure: ConnectFailure) -> Self {
        Self { stream, reason: Some(failure.reason()), error: Cause::Application(failure) }
    }
}

impl Cause {
    /// For the metrics of the client's connection.
    pub(super) fn errno(&self) -> Option<&'static str> {
        Some(match self {
            Self::Client(error) => errno(error),
            Self::Application(failure) => failure.errno(),
            Self::Silence => "ETIMEDOUT",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Application(failure) => failure.fmt(f),
            Self::Silence => {
                f.write_str("the client sent no ClientHello in time, and policy denies plaintext")
            }
        }
    }
}
