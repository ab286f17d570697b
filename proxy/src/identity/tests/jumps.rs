//! Are certificates renewed when the clock is set, and neither late nor on and on?

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{super::clock::Clock, Answer, World, eventually, good};
use crate::tls::testing::{Ca, identity};

/// A clock that can be set, in seconds from the true time.
fn settable() -> (Clock, Arc<AtomicI64>) {
    let ahead = Arc::new(AtomicI64::new(0));
    let set = ahead.clone();
    let clock = Clock::new(move || {
        let by = ahead.load(Ordering::Relaxed);
        let far = Duration::from_secs(by.unsigned_abs());
        if by < 0 { SystemTime::now() - far } else { SystemTime::now() + far }
    });
    (clock, set)
}

#[tokio::test]
async fn a_clock_that_was_set_makes_certificates_due() {
    let ca = Arc::new(Ca::new("root"));
    // Beyond the certificate's end; before its beginning; and to where little of it is left.
    for seconds in [7200, -7200, 3500] {
        let (clock, ahead) = settable();
        let world = World::at(&ca.pem(), good(&ca), clock).await;
        let web = world.store.lease(&identity("web"));
        web.usable().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(world.requests().len(), 1);
        ahead.store(seconds, Ordering::Relaxed);
        // 100 s are left: renewed at 70 % of them, which is more than this test waits for.
        if seconds == 3500 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(world.requests().len(), 1, "still valid");
            ahead.store(3599, Ordering::Relaxed);
        }
        eventually("the renewal", || world.requests().len() >= 2).await;
        // The control plane's clock is another one: its certificates are no better, but that is no reason to hurry.
        let (begun, before) = (Instant::now(), world.requests().len());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let most = 2 + begun.elapsed().as_millis() / 100;
        assert!(((world.requests().len() - before) as u128) <= most, "a renewal at least every 100 ms");
        // Set right again.
        ahead.store(0, Ordering::Relaxed);
        let right = world.requests().len();
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(world.requests().len() <= right + 2, "renewed on and on");
        assert!(web.current().is_some());
    }
}

#[tokio::test]
async fn who_needs_a_certificate_waits_for_one_that_is_not_expired() {
    let ca = Arc::new(Ca::new("root"));
    let world =
        World::new(&ca.pem(), Answer::Good { issuer: ca.clone(), lifetime: Duration::from_secs(1) }).await;
    let web = world.store.lease(&identity("web"));
    web.usable().await;
    world.answer(Answer::Refuse);
    eventually("the end", || web.current().is_none()).await;
    let waiting = tokio::spawn({
        let web = web.clone();
        async move {
            web.usable().await;
            web.current().is_some()
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    world.answer(good(&ca));
    assert!(waiting.await.unwrap());
}
