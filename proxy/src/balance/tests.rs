//! Tests of how connections are spread over endpoints.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn endpoint(last: u8) -> Endpoint {
    Endpoint {
        addr: SocketAddr::from(([10, 0, 0, last], 80)),
        tls: None,
        labels: Arc::default(),
        weight: 10_000,
        opaque_transport_port: None,
        takes_http2: false,
        opaque: false,
    }
}

fn balancer(count: u8) -> Balancer {
    let balancer = Balancer::default();
    balancer.update((1..=count).map(endpoint).collect());
    balancer
}

fn last(picked: &Picked) -> usize {
    match picked.endpoint().addr.ip() {
        std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]),
        std::net::IpAddr::V6(_) => unreachable!(),
    }
}

/// How often each endpoint is picked by connections that end at once.
fn spread(balancer: &Balancer, picks: usize, latency: impl Fn(usize) -> Duration) -> Vec<usize> {
    let mut counts = vec![0; 256];
    for _ in 0..picks {
        let picked = balancer.pick(&[]).unwrap();
        picked.answered(latency(last(&picked)));
        counts[last(&picked)] += 1;
    }
    counts
}

#[test]
fn equal_endpoints_get_equal_shares() {
    let counts = spread(&balancer(4), 4_000, |_| Duration::from_micros(200));
    assert!(counts[1..=4].iter().all(|count| (800..1_200).contains(count)), "{:?}", &counts[1..=4]);
}

#[test]
fn open_connections_even_out() {
    let balancer = balancer(3);
    let open: Vec<Picked> = (0..300).map(|_| balancer.pick(&[]).unwrap()).collect();
    for wanted in 1..=3 {
        let count = open.iter().filter(|picked| last(picked) == wanted).count();
        assert!((90..=110).contains(&count), "{count}");
    }
    drop(open);
    assert!(balancer.set.load().candidates.iter().all(|candidate| candidate.connections.open() == 0));
}

#[test]
fn a_slow_endpoint_gets_less() {
    let latency = |endpoint| Duration::from_millis(if endpoint == 1 { 100 } else { 2 });
    let counts = spread(&balancer(3), 3_000, latency);
    assert!(counts[1] < 100 && counts[2] > 1_000 && counts[3] > 1_000, "{:?}", &counts[1..=3]);
}

#[test]
fn a_new_endpoint_is_used_at_once() {
    let balancer = balancer(1);
    spread(&balancer, 100, |_| Duration::from_micros(300));
    balancer.update(vec![endpoint(1), endpoint(2)]);
    let counts = spread(&balancer, 1_000, |_| Duration::from_micros(300));
    assert!((400..600).contains(&counts[2]), "{:?}", &counts[1..=2]);
}

#[test]
fn weights_are_honoured_by_short_and_by_long_connections() {
    let balancer = Balancer::default();
    balancer.update(vec![Endpoint { weight: 30_000, ..endpoint(1) }, endpoint(2)]);
    let counts = spread(&balancer, 4_000, |_| Duration::from_micros(300));
    assert!((2_700..3_300).contains(&counts[1]), "{:?}", &counts[1..=2]);
    let open: Vec<Picked> = (0..400).map(|_| balancer.pick(&[]).unwrap()).collect();
    let heavy = open.iter().filter(|picked| last(picked) == 1).count();
    assert!((270..330).contains(&heavy), "{heavy}");
}

#[test]
fn excluded_endpoints_are_not_picked() {
    let balancer = balancer(3);
    let exclude = [endpoint(1).addr, endpoint(3).addr];
    assert!((0..100).all(|_| last(&balancer.pick(&exclude).unwrap()) == 2));
    let all = [endpoint(1).addr, endpoint(2).addr, endpoint(3).addr];
    assert!(balancer.pick(&all).is_none());
    assert!(Balancer::default().pick(&[]).is_none());
}

#[test]
fn a_failed_endpoint_backs_off_and_is_then_tried_by_one_connection() {
    let balancer = balancer(2);
    let start = balancer.base.elapsed();
    let exclude = [endpoint(2).addr];
    let together: Vec<Picked> = (0..50).map(|_| balancer.pick(&exclude).unwrap()).collect();
    together.iter().for_each(Picked::failed);
    drop(together);
    let load = balancer.set.load().candidates[0].connections.clone();
    assert!(
        (0..200).all(|_| last(
            &balancer.pick_at(Unit::Connection, &[], start + Duration::from_millis(50)).unwrap()
        ) == 2)
    );
    // Fifty connections that failed together are one failure: after at most 120 ms, exactly one may try.
    let later = balancer.base.elapsed() + Duration::from_millis(121);
    let probes: Vec<Picked> =
        (0..200).map(|_| balancer.pick_at(Unit::Connection, &[], later).unwrap()).collect();
    let tried: Vec<&Picked> = probes.iter().filter(|picked| last(picked) == 1).collect();
    assert_eq!(tried.len(), 1);
    tried[0].failed();
    assert!(load.is_backed_off(later), "a failed probe must start a new backoff");
    tried[0].answered(Duration::from_micros(300));
    assert!(!load.is_backed_off(later));
}

#[test]
fn when_all_have_failed_the_least_recent_is_tried() {
    let balancer = balancer(3);
    for wanted in [2, 1, 3] {
        let exclude: Vec<_> = (1..=3).filter(|e| *e != wanted).map(|e| endpoint(e).addr).collect();
        balancer.pick(&exclude).unwrap().failed();
        std::thread::sleep(Duration::from_millis(1));
    }
    let order: Vec<usize> = (0..3)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            last(&balancer.pick(&[]).unwrap())
        })
        .collect();
    assert_eq!(order, [2, 1, 3]);
}

#[test]
fn removed_endpoints_are_not_picked_and_others_keep_their_load() {
    let balancer = balancer(2);
    let kept = balancer.pick(&[endpoint(2).addr]).unwrap();
    kept.answered(Duration::from_millis(80));
    balancer.update(vec![endpoint(1), endpoint(1), endpoint(3)]);
    assert_eq!(balancer.len(), 2);
    let load = &balancer.set.load().candidates[0].connections;
    assert_eq!(load.open(), 1);
    assert!(load.latency(balancer.base.elapsed(), &balancer.config).unwrap() > 0.07);
    assert!((0..100).all(|_| last(&balancer.pick(&[]).unwrap()) != 2));
}

#[test]
fn picks_go_on_during_updates() {
    let balancer = Arc::new(balancer(8));
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (balancer, stop) = (balancer.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut picks = 0u32;
                while !stop.load(Ordering::Relaxed) || picks == 0 {
                    let picked = balancer.pick(&[endpoint(1).addr]).unwrap();
                    assert_ne!(last(&picked), 1);
                    match picks % 3 {
                        0 => picked.failed(),
                        1 => picked.answered(Duration::from_millis(1)),
                        _ => {}
                    }
                    picks += 1;
                }
            })
        })
        .collect();
    for round in 0..2_000u32 {
        let count = 2 + (round % 7) as u8;
        balancer.update((1..=count).map(endpoint).collect());
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(balancer.set.load().candidates.iter().all(|candidate| candidate.connections.open() == 0));
}

#[test]
fn only_so_many_requests_wait_for_an_endpoint() {
    let balancer = Balancer::default();
    let first = balancer.counts().wait(1);
    assert!(first.is_some());
    assert!(balancer.counts().wait(1).is_none(), "there is room for one");
    assert_eq!(balancer.counts().wait_times.count(), 0, "who finds no room does not wait");
    drop(first);
    assert_eq!(balancer.counts().wait_times.count(), 1);
    assert!(balancer.counts().wait(1).is_some(), "its place is free again");
}

#[test]
fn it_is_known_since_when_requests_fail_at_once_or_do_not() {
    let balancer = Balancer::default();
    let is_set = || {
        let counts = balancer.counts();
        [counts.open_since(), counts.shut_since()].map(|since| !since.is_zero())
    };
    assert_eq!(is_set(), [true, false]);
    balancer.set_failing_fast(true);
    assert_eq!(is_set(), [false, true]);
    balancer.set_failing_fast(false);
    assert_eq!(is_set(), [true, false]);
}
