//! Checks that nobody uses up what others need.

use super::*;

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

fn node(connections: usize) -> Arc<NodeLimiter> {
    NodeLimiter::new(1 << 20, connections)
}

fn fill(limiter: &Arc<ConnectionLimiter>, client: Option<IpAddr>) -> (Vec<Permit>, LimitExceeded) {
    let mut permits = Vec::new();
    loop {
        match limiter.acquire(client) {
            Ok(permit) => permits.push(permit),
            Err(limit) => return (permits, limit),
        }
    }
}

#[test]
fn a_greedy_workload_leaves_as_much_as_it_takes() {
    let node = node(120);
    let (greedy, second, late) = (node.limiter(1000), node.limiter(1000), node.limiter(1000));
    let (first, limit) = fill(&greedy, None);
    assert_eq!((first.len(), limit), (60, LimitExceeded::Node));
    let (more, _) = fill(&second, None);
    assert_eq!(more.len(), 30);
    // The last workload finds room, too.
    assert_eq!(fill(&late, None).0.len(), 15);
    drop((first, more));
    assert_eq!(node.open(), 0);
    assert_eq!(fill(&late, None).0.len(), 60);
}

#[test]
fn the_limit_per_workload_holds() {
    let limiter = node(1000).limiter(7);
    let (permits, limit) = fill(&limiter, None);
    assert_eq!((permits.len(), limit), (7, LimitExceeded::Workload));
}

#[test]
fn a_greedy_client_leaves_room_for_others() {
    let limiter = node(1000).limiter(100);
    let (greedy, limit) = fill(&limiter, Some(ONE));
    assert_eq!((greedy.len(), limit), (50, LimitExceeded::Client));
    let (other, limit) = fill(&limiter, Some(OTHER));
    assert_eq!((other.len(), limit), (25, LimitExceeded::Client));
    drop((greedy, other));
    assert!(limiter.held.lock().clients.is_empty(), "a client without connections still has an entry");
}

#[test]
fn descriptors_limit_the_total() {
    let node = NodeLimiter::new(20_000, 0);
    let limiters: Vec<_> = (0..100).map(|_| node.limiter(usize::MAX)).collect();
    assert_eq!(node.total(), (20_000 - 256 - 1600) / 2);
    drop(limiters);
    assert_eq!(node.total(), (20_000 - 256) / 2);
    assert_eq!(fill(&NodeLimiter::new(100, 0).limiter(10), None).1, LimitExceeded::Node);
}

#[test]
fn pooled_sockets_are_counted_and_leave_room() {
    let node = NodeLimiter::new(20_000, 0);
    let limiter = node.limiter(usize::MAX);
    assert_eq!(node.pool_allowance(128), 128);
    let mut pooled = Vec::new();
    // Many busy workloads that fill their pools as far as they may.
    while node.pool_allowance(128) > 0 {
        pooled.extend((0..node.pool_allowance(128)).map(|_| node.pool_permit()));
    }
    let left = 20_000 - 256 - 16;
    assert_eq!(pooled.len(), left / 8);
    assert_eq!(node.total(), left / 2, "pooled sockets must not reduce the limit of connections");
    drop(pooled);
    let (permits, _) = fill(&limiter, None);
    assert_eq!(node.pool_allowance(10_000), (left - 2 * permits.len()) / 8);
}

#[test]
fn pools_are_reclaimed_when_connections_need_the_descriptors() {
    #[derive(Debug, Default)]
    struct Pool(Mutex<Vec<PooledPermit>>);
    impl Reclaimable for Pool {
        fn reclaim(&self) {
            self.0.lock().clear();
        }
    }
    let node = NodeLimiter::new(256 + 1000 + 3 * 16, 0);
    let (dropped, kept) = (Arc::new(Pool::default()), Arc::new(Pool::default()));
    for pool in [&dropped, &kept] {
        let pool: Arc<dyn Reclaimable> = pool.clone();
        node.register_pool(Arc::downgrade(&pool));
    }
    drop(dropped);
    kept.0.lock().extend((0..node.pool_allowance(1000)).map(|_| node.pool_permit()));
    let pooled = kept.0.lock().len();
    assert_eq!(pooled, (1000 + 3 * 16) / 8);
    let limiters: Vec<_> = (0..3).map(|_| node.limiter(usize::MAX)).collect();
    let (first, _) = fill(&limiters[0], None);
    let (second, _) = fill(&limiters[1], None);
    assert_eq!((first.len(), second.len()), (250, 125));
    assert_eq!(kept.0.lock().len(), pooled, "there was room for both, but the pool was reclaimed");
    let (third, _) = fill(&limiters[2], None);
    assert_eq!(third.len(), 63);
    assert!(kept.0.lock().is_empty());
}
