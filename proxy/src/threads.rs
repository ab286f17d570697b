//! The worker threads that carry connections.
//!
//! There is one thread per core, each with a runtime of its own. A connection stays on its thread, so a byte that
//! arrives wakes the thread that moves it and no other. Threads do not take work from each other; instead, a new
//! connection is assigned to the thread with less to do. docs/decisions/0021-worker-threads.md has the reasons.

use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    time::{ClockId, clock_gettime},
    unistd::gettid,
};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};

/// How often the load of the workers is measured, at most, while connections arrive.
const MEASURE_INTERVAL: Duration = Duration::from_millis(100);
/// By how many thousandths of its time a worker may be busier than another before connections go to the other.
const MAX_LOAD_DIFFERENCE: u32 = 250;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The number of the worker on whose thread this runs; 0 on other threads.
pub fn current_worker() -> usize {
    NUMBER.get()
}

/// The threads that carry connections. They end with the process.
pub struct WorkerThreads {
    workers: Vec<Arc<Worker>>,
    next: AtomicUsize,
    measured: Mutex<Instant>,
}

/// One of the threads.
pub struct Worker {
    runtime: Handle,
    /// The processor time of its thread.
    clock: ClockId,
    used: Mutex<Duration>,
    connections: AtomicUsize,
    /// The share of its time that it worked between the last two measurements, in thousandths.
    load: AtomicU32,
}

/// A connection's place on a worker, counted until it is dropped.
pub struct Assignment(Arc<Worker>);

impl WorkerThreads {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// There are no more threads or descriptors.
    pub fn start(count: usize) -> io::Result<Self> {
        let workers = (0..count.max(1)).map(|number| Worker::start(number).map(Arc::new));
        let workers = workers.collect::<io::Result<_>>()?;
        Ok(Self { workers, next: AtomicUsize::new(0), measured: Mutex::new(Instant::now()) })
    }

    /// The number of workers.
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// The worker that accepts the connections of one more workload: each in turn.
    pub fn next_worker(&self) -> Arc<Worker> {
        self.workers[self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len()].clone()
    }

    /// Assigns a connection that `accepted_by` accepted. It stays there unless another worker has clearly less to do.
    pub fn assign(&self, accepted_by: &Arc<Worker>) -> Assignment {
        self.measure();
        let mut chosen = accepted_by;
        for worker in &self.workers {
            if worker.is_freer_than(chosen) {
                chosen = worker;
            }
        }
        chosen.connections.fetch_add(1, Ordering::Relaxed);
        Assignment(chosen.clone())
    }

    fn measure(&self) {
        let Some(mut measured) = self.measured.try_lock() else { return };
        let elapsed = measured.elapsed();
        if elapsed >= MEASURE_INTERVAL {
            *measured = Instant::now();
            self.workers.iter().for_each(|worker| worker.measure(elapsed));
        }
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (send_id, id) = mpsc::channel();
        let run = move || {
            NUMBER.set(number);
            let _ = send_id.send(gettid());
            runtime.block_on(std::future::pending::<()>());
        };
        thread::Builder::new().name(format!("weft-worker-{number}")).spawn(run)?;
        let id = id.recv().map_err(io::Error::other)?;
        Ok(Self {
            runtime: handle,
            // What pthread_getcpuclockid(3) makes of a thread's number.
            clock: ClockId::from_raw(!id.as_raw() << 3 | 6),
            used: Mutex::default(),
            connections: AtomicUsize::new(0),
            load: AtomicU32::new(0),
        })
    }

    /// The runtime of this thread.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn measure(&self, elapsed: Duration) {
        let Ok(now) = clock_gettime(self.clock) else { return };
        let now = Duration::from(now);
        let used = now.saturating_sub(std::mem::replace(&mut *self.used.lock(), now));
        let load = used.as_micros() * 1000 / elapsed.as_micros().max(1);
        self.load.store(load.min(1000) as u32, Ordering::Relaxed);
    }

    fn is_freer_than(&self, other: &Self) -> bool {
        let of =
            |worker: &Self| (worker.load.load(Ordering::Relaxed), worker.connections.load(Ordering::Relaxed));
        is_freer(of(self), of(other))
    }
}

/// Whether the first of two workers has clearly less to do, by load and number of connections.
fn is_freer(one: (u32, usize), other: (u32, usize)) -> bool {
    if one.0.abs_diff(other.0) > MAX_LOAD_DIFFERENCE {
        return one.0 < other.0;
    }
    one.1 + one.1 / 8 < other.1
}

impl Assignment {
    /// Whether the connection is on `worker`.
    pub fn is_on(&self, worker: &Arc<Worker>) -> bool {
        Arc::ptr_eq(&self.0, worker)
    }

    /// The runtime of the worker.
    pub fn runtime(&self) -> &Handle {
        &self.0.runtime
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_stay_and_many_are_spread() {
        let threads = WorkerThreads::start(4).unwrap();
        let worker = threads.next_worker();
        for _ in 0..10 {
            assert!(threads.assign(&worker).is_on(&worker));
        }
        let assignments: Vec<_> = (0..400).map(|_| threads.assign(&worker)).collect();
        for worker in &threads.workers {
            let connections = worker.connections.load(Ordering::Relaxed);
            assert!((80..=130).contains(&connections), "{connections}");
        }
        drop(assignments);
        assert!(threads.assign(&worker).is_on(&worker));
    }

    #[test]
    fn workloads_get_workers_in_turn() {
        let threads = WorkerThreads::start(2).unwrap();
        let workers = [threads.next_worker(), threads.next_worker(), threads.next_worker()];
        assert!(!Arc::ptr_eq(&workers[0], &workers[1]));
        assert!(Arc::ptr_eq(&workers[0], &workers[2]));
    }

    #[test]
    fn a_busy_worker_gets_no_more() {
        assert!(is_freer((0, 5), (900, 1)), "load counts before the number");
        assert!(!is_freer((900, 1), (0, 5)));
        assert!(is_freer((100, 1), (200, 2)));
        assert!(!is_freer((0, 16), (0, 17)), "one more is no reason to move");
    }

    #[test]
    fn the_load_of_a_worker_is_measured() {
        let worker = Worker::start(0).unwrap();
        let (done, wait) = mpsc::channel();
        worker.runtime.spawn(async move {
            let end = Instant::now() + Duration::from_millis(30);
            while Instant::now() < end {}
            let _ = done.send(());
        });
        wait.recv().unwrap();
        worker.measure(Duration::from_millis(30));
        assert!(worker.load.load(Ordering::Relaxed) > 0);
    }
}
