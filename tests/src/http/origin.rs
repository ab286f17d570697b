//! Servers that follow a script and remember what they received.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};

use super::{Head, Message, Wire};
use crate::{backends::Server, mesh::Pod};

/// A server inside a pod. Its script serves one connection.
pub struct Origin {
    server: Server,
    seen: Seen,
}

/// One connection, as a script sees it.
pub struct Session {
    pub wire: Wire,
    seen: Seen,
}

type Seen = Arc<Mutex<Vec<Message>>>;

impl Origin {
    /// Serves `port` of the pod. An error of the script is a failure of the scenario.
    pub fn start(
        pod: &Pod,
        port: u16,
        script: impl Fn(&mut Session) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let seen = Seen::default();
        let noted = seen.clone();
        let server = pod.serve(
            port,
            Arc::new(move |accepted| {
                let wire = Wire::new(accepted.stream.try_clone()?);
                let mut session = Session { wire, seen: noted.clone() };
                script(&mut session).map_err(|e| io::Error::other(format!("{e:#}")))
            }),
        )?;
        Ok(Self { server, seen })
    }

    /// Answers every request with the bytes that `answer` returns, on connections that are kept. A connection is closed
    /// after `Connection: close` on either side, and after an answer to HTTP/1.0.
    pub fn answering(
        pod: &Pod,
        port: u16,
        answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start(pod, port, move |session| {
            while let Some(request) = session.request()? {
                let answer = answer(&request);
                session.wire.send(&answer)?;
                let said_close =
                    answer.windows(17).any(|part| part.eq_ignore_ascii_case(b"connection: close"));
                if said_close || request.head.is_old() || request.head.values("connection") == ["close"] {
                    return Ok(session.wire.close()?);
                }
            }
            Ok(())
        })
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The number of connections so far.
    pub fn connections(&self) -> u64 {
        self.server.accepted()
    }

    /// The requests so far, in the order in which they were complete.
    pub fn requests(&self) -> Vec<Message> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The only request so far.
    pub fn only_request(&self) -> Result<Message> {
        let mut requests = self.requests();
        ensure!(requests.len() == 1, "the origin received {} requests: {requests:?}", requests.len());
        Ok(requests.remove(0))
    }

    /// Fails if a script failed so far. Connections may still be open: a proxy keeps idle ones.
    pub fn no_failures(&self) -> Result<()> {
        let failures = self.server.failures();
        ensure!(failures.is_empty(), "the origin failed: {failures:?}");
        Ok(())
    }
}

impl Session {
    /// The next request, or `None` if the client is done.
    pub fn request(&mut self) -> Result<Option<Message>> {
        if !self.wire.begins()? {
            return Ok(None);
        }
        let request = Message::request(&mut self.wire)?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        Ok(Some(request))
    }

    /// The head of the next request, whose body the script reads itself.
    pub fn head(&mut self) -> Result<Option<Head>> {
        if !self.wire.begins()? {
            return Ok(None);
        }
        Head::read(&mut self.wire).map(Some)
    }
}
