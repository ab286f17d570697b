//! Limits on requests in flight, per node and workload.
//!
//! A workload may have as many requests in flight as it leaves free for others, like connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::net::Direction;

/// Linkerd's limit per proxy and direction.
const MAX_IN_FLIGHT: usize = 100_000;

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
    /// Permits one more request; `None` if the workload has used up its quota.
    pub fn acquire(self: &Arc<Self>, direction: Direction) -> Option<RequestPermit> {
        let all = self.node.in_flight(direction);
        let free = self.node.max.saturating_sub(all.load(Ordering::Relaxed));
        let own = self.in_flight(direction).fetch_add(1, Ordering::Relaxed);
        all.fetch_add(1, Ordering::Relaxed);
        // Dropped if there is no room.
        let permit = RequestPermit { limiter: self.clone(), direction };
        (own < free).then_some(permit)
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
        self.limiter.in_flight(self.direction).fetch_sub(1, Ordering::Relaxed);
        self.limiter.node.in_flight(self.direction).fetch_sub(1, Ordering::Relaxed);
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
            std::iter::from_fn(|| limiter.acquire(Direction::Inbound)).collect::<Vec<_>>()
        };
        let first = take(&greedy);
        assert_eq!(first.len(), 45);
        let second = take(&modest);
        assert_eq!(second.len(), 23);
        assert!(greedy.acquire(Direction::Outbound).is_some(), "directions have limits of their own");
        drop((first, second));
        assert_eq!(take(&modest).len(), 45);
    }
}
