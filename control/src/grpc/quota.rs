//! Limits how many connections there are, and how many of them one client may have.
//!
//! A client may have as many connections as it leaves free for others, so that one client cannot keep all others out.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Counts connections by the client's address.
#[derive(Clone, Debug)]
pub(super) struct Quota(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    free: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// One connection, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    quota: Quota,
    client: IpAddr,
}

impl Quota {
    pub(super) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Counts { free: limit, by_client: HashMap::new() })))
    }

    /// Counts a connection of `client`. `None` if it has as many as it leaves free.
    pub(super) fn admit(&self, client: IpAddr) -> Option<Counted> {
        let client = client.to_canonical();
        let mut counts = self.0.lock();
        let Counts { free, by_client } = &mut *counts;
        let held = by_client.get(&client).copied().unwrap_or_default();
        if held >= *free {
            return None;
        }
        *free -= 1;
        by_client.insert(client, held + 1);
        Some(Counted { quota: self.clone(), client })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.quota.0.lock();
        counts.free += 1;
        if let Some(held) = counts.by_client.get_mut(&self.client) {
            *held -= 1;
            if *held == 0 {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_leaves_room_for_the_next_one() {
        let quota = Quota::new(8);
        let clients = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let greedy: Vec<_> = std::iter::from_fn(|| quota.admit(clients[0])).collect();
        assert_eq!(greedy.len(), 4);
        let next: Vec<_> = std::iter::from_fn(|| quota.admit(clients[1])).collect();
        assert_eq!(next.len(), 2);
        drop(greedy);
        assert!(quota.admit(clients[0]).is_some());
        assert!(quota.admit("::ffff:10.0.0.2".parse().unwrap()).is_some());
        drop(next);
        assert!(quota.0.lock().by_client.is_empty());
        assert_eq!(quota.0.lock().free, 8);
    }
}
