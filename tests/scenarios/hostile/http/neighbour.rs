//! A pod that uses the same proxies as the attacker, and must not notice the attack.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use weft_tests::{
    dial,
    http::{Message, Origin, To, Wire},
    mesh::Mesh,
    wait,
};

/// A client that sends one request after the other, on a kept connection and on new ones in turns.
pub(super) struct Neighbour {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
    _origin: Origin,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    results: Mutex<Vec<Result<Duration>>>,
}

/// Latencies of requests.
pub(super) struct Latencies(Vec<Duration>);

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);
/// Every so many requests the client connects anew.
const PER_CONNECTION: usize = 10;

impl Neighbour {
    pub(super) fn start(mesh: &Mesh) -> Result<Self> {
        let answer = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok";
        let pod = mesh.pod("neighbour");
        let origin = Origin::answering(&pod, mesh.unused_port(), |_| answer.to_vec())?;
        let target = pod.at(origin.port());
        let netns = mesh.pod("bystander").netns().clone();
        let shared = Arc::new(Shared::default());
        let worker = {
            let shared = shared.clone();
            thread::spawn(move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    let connected = dial::from(&netns, target).map(Wire::new);
                    match connected {
                        Ok(mut wire) => (0..PER_CONNECTION).for_each(|_| shared.note(request(&mut wire))),
                        Err(e) => shared.note(Err(e.into())),
                    }
                }
            })
        };
        let neighbour = Self { shared, worker: Some(worker), _origin: origin };
        // The first connection may have to wait for a certificate.
        wait::until("the neighbour's first answer", || neighbour.take().is_ok())?;
        Ok(neighbour)
    }

    /// The latencies since the last call. A request that failed is an error.
    pub(super) fn take(&self) -> Result<Latencies> {
        let results =
            std::mem::take(&mut *self.shared.results.lock().unwrap_or_else(PoisonError::into_inner));
        let mut latencies = results.into_iter().collect::<Result<Vec<_>>>()?;
        ensure!(!latencies.is_empty(), "no request was answered");
        latencies.sort_unstable();
        Ok(Latencies(latencies))
    }
}

fn request(wire: &mut Wire) -> Result<Duration> {
    thread::sleep(PAUSE);
    let begun = Instant::now();
    wire.send("GET / HTTP/1.1\r\nHost: neighbour\r\n\r\n")?;
    let answer = Message::response(wire, To::Other)?;
    ensure!(answer.text() == "ok", "the answer is {answer:?}");
    Ok(begun.elapsed())
}

impl Shared {
    fn note(&self, result: Result<Duration>) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            // A panic has already been printed.
            let _ = worker.join();
        }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let middle = self.0[self.0.len() / 2];
        write!(f, "{:.2} ms of {}", middle.as_secs_f64() * 1000.0, self.0.len())
    }
}
