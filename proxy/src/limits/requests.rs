//! Limits on requests in flight, per node and workload.
//!
//! A workload may have as many requests in flight as it leaves free for others, like connections. A request counts once
//! for each [`UNIT`] of its head that has begun, so this also bounds the memory of heads.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::net::Direction;

/// Linkerd's limit per proxy and direction.
const MAX_IN_FLIGHT: usize = 100_000;

/// Linkerd's limit on requests that wait for one destination.
const MAX_WAITING: usize = 10_000;
/// The part of the requests in flight that may wait for one destination: the others are left for those that serve.
const WAITING_SHARE: usize = 8;

/// A head of up to this many bytes counts as one request.
const UNIT: usize = 4 * 1024;

/// The requests in flight of all workloads.
#[derive(Debug)]
pub struct NodeRequests {
    max: usize,
    inbound: AtomicUsize,
    outbound: AtomicUsize,
}

/// The requests in flight of one workload.
#[derive(Debug)]
pub struct RequestLimiter {
    node: Arc<NodeRequests>,
    inbound: AtomicUsize,
    outbound: AtomicUsize,
}

/// Permission to have one request in flight; drop it when the response ends.
#[derive(Debug)]
pub struct RequestPermit {
    limiter: Arc<RequestLimiter>,
    direction: Direction,
    /// How often the request counts.
    weight: usize,
}

impl NodeRequests {
    /// `max` requests may be in flight in each direction; 0 means Linkerd's default.
    pub fn new(max: usize) -> Arc<Self> {
        let max = if max == 0 { MAX_IN_FLIGHT } else { max };
        Arc::new(Self { max, inbound: AtomicUsize::new(0), outbound: AtomicUsize::new(0) })
    }

    /// The limits of one more workload.
    pub fn limiter(self: &Arc<Self>) -> Arc<RequestLimiter> {
        let (inbound, outbound) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(RequestLimiter { node: self.clone(), inbound, outbound })
    }

    fn in_flight(&self, direction: Direction) -> &AtomicUsize {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

impl RequestLimiter {
    /// Permits one more request with a head of `head` bytes; `None` if the workload has used up its quota.
    pub fn acquire(self: &Arc<Self>, direction: Direction, head: usize) -> Option<RequestPermit> {
        let weight = head.div_ceil(UNIT).max(1);
        let all = self.node.in_flight(direction);
        let free = self.node.max.saturating_sub(all.load(Ordering::Relaxed));
        let own = self.in_flight(direction).fetch_add(weight, Ordering::Relaxed);
        all.fetch_add(weight, Ordering::Relaxed);
        // Dropped if there is no room.
        let permit = RequestPermit { limiter: self.clone(), direction, weight };
        // As if taken one by one: the last must leave as much free as the workload then has.
        (own + 2 * weight <= free + 1).then_some(permit)
    }

    /// How many requests of all workloads may wait for one destination.
    pub fn max_waiting(&self) -> usize {
        (self.node.max / WAITING_SHARE).clamp(1, MAX_WAITING)
    }

    /// Permits a head that is still arriving to take `head` bytes, of which `held` is the permit so far. The first
    /// [`UNIT`] is free: the number of connections bounds it. `false` if the workload has used up its quota.
    pub fn hold(
        self: &Arc<Self>,
        direction: Direction,
        head: usize,
        held: &mut Option<RequestPermit>,
    ) -> bool {
        let weight = held.as_ref().map_or(0, |permit| permit.weight);
        if head <= (weight + 1) * UNIT {
            return true;
        }
        *held = None;
        *held = self.acquire(direction, head);
        held.is_some()
    }

    fn in_flight(&self, direction: Direction) -> &AtomicUsize {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.limiter.in_flight(self.direction).fetch_sub(self.weight, Ordering::Relaxed);
        self.limiter.node.in_flight(self.direction).fetch_sub(self.weight, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_leaves_room_for_others() {
        let node = NodeRequests::new(90);
        let (greedy, modest) = (node.limiter(), node.limiter());
        let take = |limiter: &Arc<RequestLimiter>| {
            std::iter::from_fn(|| limiter.acquire(Direction::Inbound, 100)).collect::<Vec<_>>()
        };
        let first = take(&greedy);
        assert_eq!(first.len(), 45);
        let second = take(&modest);
        assert_eq!(second.len(), 23);
        assert!(greedy.acquire(Direction::Outbound, 100).is_some(), "directions have limits of their own");
        drop((first, second));
        assert_eq!(take(&modest).len(), 45);
    }

    #[test]
    fn the_requests_that_wait_for_one_destination_leave_room_for_others() {
        let waiting = |max| NodeRequests::new(max).limiter().max_waiting();
        assert_eq!((waiting(0), waiting(400), waiting(1)), (10_000, 50, 1));
    }

    #[test]
    fn a_large_head_counts_several_times() {
        let node = NodeRequests::new(90);
        let limiter = node.limiter();
        let large: Vec<_> = std::iter::from_fn(|| limiter.acquire(Direction::Inbound, 10 * UNIT)).collect();
        assert_eq!(large.len(), 4, "of 45 units");
        drop(large);
        let mut held = None;
        assert!(limiter.hold(Direction::Inbound, UNIT, &mut held) && held.is_none());
        assert!(limiter.hold(Direction::Inbound, 40 * UNIT, &mut held) && held.is_some());
        assert!(!limiter.hold(Direction::Inbound, 60 * UNIT, &mut held) && held.is_none());
        assert_eq!(node.in_flight(Direction::Inbound).load(Ordering::Relaxed), 0);
    }
}
