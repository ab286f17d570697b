//! Tests that certificates are renewed when the clock is set: in time, and not too often.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{super::clock::Clock, Answer, World, eventually, good};
use crate::tls::testing::{Ca, identity};

/// A clock and its offset from the true time, in seconds.
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
async fn certificates_are_renewed_when_the_clock_is_set() {
    let ca = Arc::new(Ca::new("root"));
    // After the certificate's end; before its start; and close to its end.
    for seconds in [7200, -7200, 3500] {
        let (clock, offset) = settable();
        let world = World::at(&ca.pem(), good(&ca), clock).await;
        let web = world.store.lease(&identity("web"));
        web.usable().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(world.requests().len(), 1);
        offset.store(seconds, Ordering::Relaxed);
        // 100 s are left. The renewal is due after 70 % of them, which is later than this test waits.
        if seconds == 3500 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(world.requests().len(), 1, "renewed although the certificate is valid for 100 s");
            offset.store(3599, Ordering::Relaxed);
        }
        eventually("the renewal", || world.requests().len() >= 2).await;
        // The control plane's clock is not set, so new certificates are no better. They must not be requested too
        // often.
        let (started, before) = (Instant::now(), world.requests().len());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let max = 2 + started.elapsed().as_millis() / 100;
        assert!(((world.requests().len() - before) as u128) <= max, "renewals are less than 100 ms apart");
        // The clock is set back.
        offset.store(0, Ordering::Relaxed);
        let at_reset = world.requests().len();
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(world.requests().len() <= at_reset + 2, "renewals do not stop");
        assert!(web.current().is_some());
    }
}

#[tokio::test]
async fn waiting_for_a_certificate_ignores_an_expired_one() {
    let ca = Arc::new(Ca::new("root"));
    let world =
        World::new(&ca.pem(), Answer::Good { issuer: ca.clone(), lifetime: Duration::from_secs(1) }).await;
    let web = world.store.lease(&identity("web"));
    web.usable().await;
    world.answer(Answer::Refuse);
    eventually("the expiry", || web.current().is_none()).await;
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
