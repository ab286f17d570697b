//! Which thread carries a connection?
//!
//! One thread for each core, with a runtime of its own: a connection stays where it began, so a byte that arrives
//! wakes the thread that moves it and no other. Nobody steals work; instead, a new connection goes where there is
//! less of it.

use std::{
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

/// How often it is looked at how busy the lanes are, if connections come.
const LOOK: Duration = Duration::from_millis(100);
/// By how many thousandths of its time a lane may be busier than another before connections are moved there.
const BUSIER: u32 = 250;

/// The threads that carry connections. They end with the process.
pub struct Lanes {
    lanes: Vec<Arc<Lane>>,
    next: AtomicUsize,
    looked: Mutex<Instant>,
}

/// One of them.
pub struct Lane {
    runtime: Handle,
    /// Its thread's processor time.
    clock: ClockId,
    used: Mutex<Duration>,
    carried: AtomicUsize,
    /// Thousandths of the time between the last two looks.
    busy: AtomicU32,
}

/// A connection's place on a lane.
pub struct Place(Arc<Lane>);

impl Lanes {
    /// Starts `count` of them.
    ///
    /// # Errors
    /// No more threads or descriptors can be had.
    pub fn start(count: usize) -> io::Result<Self> {
        let lanes = (0..count.max(1)).map(|number| Lane::start(number).map(Arc::new));
        let lanes = lanes.collect::<io::Result<_>>()?;
        Ok(Self { lanes, next: AtomicUsize::new(0), looked: Mutex::new(Instant::now()) })
    }

    /// Where one more workload's connections are accepted.
    pub fn home(&self) -> Arc<Lane> {
        self.lanes[self.next.fetch_add(1, Ordering::Relaxed) % self.lanes.len()].clone()
    }

    /// Where a connection goes that was accepted at `home`: it stays there, unless another lane has clearly less
    /// to do.
    pub fn place(&self, home: &Arc<Lane>) -> Place {
        self.look();
        let mut chosen = home;
        for lane in &self.lanes {
            if lane.is_freer_than(chosen) {
                chosen = lane;
            }
        }
        chosen.carried.fetch_add(1, Ordering::Relaxed);
        Place(chosen.clone())
    }

    fn look(&self) {
        let Some(mut looked) = self.looked.try_lock() else { return };
        let passed = looked.elapsed();
        if passed >= LOOK {
            *looked = Instant::now();
            self.lanes.iter().for_each(|lane| lane.look(passed));
        }
    }
}

impl Lane {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (tell, told) = mpsc::channel();
        let run = move || {
            let _ = tell.send(gettid());
            runtime.block_on(std::future::pending::<()>());
        };
        thread::Builder::new().name(format!("weft-lane-{number}")).spawn(run)?;
        let thread = told.recv().map_err(io::Error::other)?;
        Ok(Self {
            runtime: handle,
            // What pthread_getcpuclockid(3) makes of a thread's number.
            clock: ClockId::from_raw(!thread.as_raw() << 3 | 6),
            used: Mutex::default(),
            carried: AtomicUsize::new(0),
            busy: AtomicU32::new(0),
        })
    }

    /// The lane's runtime.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn look(&self, passed: Duration) {
        let Ok(now) = clock_gettime(self.clock) else { return };
        let now = Duration::from(now);
        let used = now.saturating_sub(std::mem::replace(&mut *self.used.lock(), now));
        let busy = used.as_micros() * 1000 / passed.as_micros().max(1);
        self.busy.store(busy.min(1000) as u32, Ordering::Relaxed);
    }

    fn is_freer_than(&self, other: &Self) -> bool {
        let load = |lane: &Self| (lane.busy.load(Ordering::Relaxed), lane.carried.load(Ordering::Relaxed));
        freer(load(self), load(other))
    }
}

/// Whether the first of two lanes has clearly less to do, by how busy they were and how many connections they carry.
fn freer(one: (u32, usize), other: (u32, usize)) -> bool {
    if one.0.abs_diff(other.0) > BUSIER {
        return one.0 < other.0;
    }
    one.1 + one.1 / 8 < other.1
}

impl Place {
    /// Whether that is `home`.
    pub fn is(&self, home: &Arc<Lane>) -> bool {
        Arc::ptr_eq(&self.0, home)
    }

    /// The lane's runtime.
    pub fn runtime(&self) -> &Handle {
        &self.0.runtime
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.carried.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_are_spread_and_single_ones_stay_at_home() {
        let lanes = Lanes::start(4).unwrap();
        let home = lanes.home();
        for _ in 0..10 {
            assert!(lanes.place(&home).is(&home));
        }
        let places: Vec<_> = (0..400).map(|_| lanes.place(&home)).collect();
        for lane in &lanes.lanes {
            let carried = lane.carried.load(Ordering::Relaxed);
            assert!((80..=130).contains(&carried), "{carried}");
        }
        drop(places);
        assert!(lanes.place(&home).is(&home));
    }

    #[test]
    fn workloads_have_homes_in_turn() {
        let lanes = Lanes::start(2).unwrap();
        let homes = [lanes.home(), lanes.home(), lanes.home()];
        assert!(!Arc::ptr_eq(&homes[0], &homes[1]));
        assert!(Arc::ptr_eq(&homes[0], &homes[2]));
    }

    #[test]
    fn a_busy_lane_is_left() {
        assert!(freer((0, 5), (900, 1)), "busy counts before the number");
        assert!(!freer((900, 1), (0, 5)));
        assert!(freer((100, 1), (200, 2)));
        assert!(!freer((0, 16), (0, 17)), "one more is no reason to move");
    }

    #[test]
    fn a_lane_tells_how_busy_it_is() {
        let lane = Lane::start(0).unwrap();
        let (done, wait) = mpsc::channel();
        lane.runtime.spawn(async move {
            let end = Instant::now() + Duration::from_millis(30);
            while Instant::now() < end {}
            let _ = done.send(());
        });
        wait.recv().unwrap();
        lane.look(Duration::from_millis(30));
        assert!(lane.busy.load(Ordering::Relaxed) > 0);
    }
}
