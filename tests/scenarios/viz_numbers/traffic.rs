//! Clients that write down every request, and servers whose answers tell which of them it was.

use std::{
    io::{Read, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{Scope, ScopedJoinHandle, sleep},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    http::{Origin, Wire},
    mesh::Mesh,
};

use super::{
    HTTP_PORT, TCP_PORT,
    counted::{Call, Counted},
};
use crate::http_mesh::{ask, ways::status};

/// Every so many requests of `web-b` fail; `web-a` never fails.
const FAILS_EVERY: usize = 4;
/// How long servers take for a path. Of ten requests, six are fast, three take [`MIDDLE`], and one takes [`SLOW`].
const MIDDLE: Duration = Duration::from_millis(25);
pub(super) const SLOW: Duration = Duration::from_millis(120);
const PATHS: [&str; 10] =
    ["/fast", "/fast", "/middle", "/fast", "/slow", "/middle", "/fast", "/fast", "/middle", "/fast"];
/// Connections to `store` that stay open, by client.
pub(super) const OPEN: [(&str, usize); 2] = [("caller-a", 3), ("caller-b", 2)];
/// What `caller-a` sends in a round on one of them, and gets back.
const CHUNK: usize = 1000;
const CHUNK_EVERY: Duration = Duration::from_millis(100);

/// Who calls what, and how long it waits from one request to the next.
struct Client {
    name: &'static str,
    /// By its service, or a pod by its address.
    target: Target,
    every: Duration,
}

enum Target {
    Service,
    Pod(&'static str),
}

const CLIENTS: [Client; 4] = [
    Client { name: "caller-a", target: Target::Service, every: Duration::from_millis(50) },
    Client { name: "caller-b", target: Target::Service, every: Duration::from_millis(100) },
    Client { name: "outsider", target: Target::Pod("web-a"), every: Duration::from_millis(200) },
    Client { name: "outsider", target: Target::Pod("web-b"), every: Duration::from_millis(150) },
];

pub(super) struct Traffic {
    counted: Mutex<Counted>,
    failures: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// Ends the clients.
pub(super) struct End<'a>(&'a AtomicBool);

impl Traffic {
    pub(super) fn new() -> Self {
        Self { counted: Mutex::default(), failures: Mutex::default(), ended: AtomicBool::new(false) }
    }

    /// Starts all clients.
    pub(super) fn start<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        mesh: &'s Mesh,
    ) -> Vec<ScopedJoinHandle<'s, ()>> {
        let note = move |result: Result<()>| {
            if let Err(error) = result {
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
            }
        };
        let calls = CLIENTS.iter().map(|client| scope.spawn(move || note(self.call(mesh, client))));
        let streams = OPEN.map(|(name, count)| scope.spawn(move || note(self.hold(mesh, name, count))));
        calls.chain(streams).collect()
    }

    pub(super) fn end_on_drop(&self) -> End<'_> {
        End(&self.ended)
    }

    /// What was counted so far.
    pub(super) fn counted(&self) -> Counted {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn no_failures(&self) -> Result<()> {
        let failures = self.failures();
        ensure!(failures.is_empty(), "clients failed: {failures:?}");
        Ok(())
    }

    fn call(&self, mesh: &Mesh, client: &Client) -> Result<()> {
        let address = match client.target {
            Target::Service => mesh.service("web").at(HTTP_PORT),
            Target::Pod(pod) => mesh.pod(pod).at(HTTP_PORT),
        };
        let mut wire = Wire::new(mesh.pod(client.name).connect(address)?);
        let mut next = Instant::now();
        for path in PATHS.iter().cycle() {
            if self.ended.load(Ordering::Relaxed) {
                break;
            }
            self.one(&mut wire, client.name, matches!(client.target, Target::Service), path)?;
            next += client.every;
            sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    /// One request, which is counted. Returns whether it failed.
    pub(super) fn one(
        &self,
        wire: &mut Wire,
        client: &'static str,
        by_service: bool,
        path: &str,
    ) -> Result<bool> {
        let begun = Instant::now();
        let answer = ask(wire, path, "").with_context(|| client)?;
        let failed = answer.head.status() >= 500;
        let ms = begun.elapsed().as_secs_f64() * 1000.0;
        let call = Call { client, by_service, server: answer.text(), failed, at: now(), ms };
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).calls.push(call);
        Ok(failed)
    }

    /// Opens connections to `store` and keeps them. One of them that goes to another node is used.
    fn hold(&self, mesh: &Mesh, name: &str, count: usize) -> Result<()> {
        let address = mesh.service("store").at(TCP_PORT);
        let mut streams = mesh.pod(name).connect_many(address, count)?;
        let mut buffer = [7; CHUNK];
        for stream in &mut streams {
            // No protocol that the proxy knows begins like this.
            stream.write_all(b"\x01store\n")?;
            stream.read_exact(&mut buffer[..7])?;
        }
        while !self.ended.load(Ordering::Relaxed) {
            if name == "caller-a" {
                streams[0].write_all(&buffer)?;
                streams[0].read_exact(&mut buffer).context("an echo of the store")?;
                let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
                counted.bytes.push((now(), CHUNK));
            }
            sleep(CHUNK_EVERY);
        }
        Ok(())
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Serves `web` in a pod. Answers are the pod's name.
pub(super) fn serve(mesh: &Mesh, pod: &'static str) -> Result<Origin> {
    let count = AtomicUsize::new(0);
    Origin::answering(&mesh.pod(pod), HTTP_PORT, move |request| {
        sleep(match request.head.target() {
            "/middle" => MIDDLE,
            "/slow" => SLOW,
            _ => Duration::ZERO,
        });
        let is_failure = pod == "web-b" && count.fetch_add(1, Ordering::Relaxed).is_multiple_of(FAILS_EVERY);
        status(if is_failure { 503 } else { 200 }, pod)
    })
}

/// Unix seconds.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
