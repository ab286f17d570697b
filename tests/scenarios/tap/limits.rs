//! How much a tap shows.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weft_tests::{
    mesh::Mesh,
    tap::{Tap, tap},
    wait,
};

use crate::http_mesh::{
    ask,
    ways::{Way, each_way, ok},
};

/// As many as the proxy allows.
const MAX_TAPS: usize = 32;

pub(super) fn limits(mesh: &Mesh) -> Result<()> {
    each_way(mesh, |way| {
        let proxy = mesh.proxy("a").watch()?;
        let origin = way.answering(|_| ok("hello"))?;
        let slow = tap(mesh, "a", &["client"])?.direction("outbound").rps(5).open()?;
        let few = tap(mesh, "a", &["client"])?.direction("outbound").limit(7).open()?;
        let mut wire = way.connect(origin.port())?;
        let (begun, mut sent) = (Instant::now(), 0);
        while sent < 200 || begun.elapsed() < Duration::from_millis(1_200) {
            ask(&mut wire, "/many", "")?;
            sent += 1;
        }
        // The limit is counted by seconds of the tap: one more begins than have passed since.
        let most = 5 * (usize::try_from(begun.elapsed().as_secs())? + 2);
        few.expect(7)?;
        ensure!(few.until_ended()?.is_none(), "it did not end in order");
        let shown = slow.calls().len();
        ensure!(
            (5..=most).contains(&shown),
            "{shown} of {sent} requests are shown, at most {most} should be"
        );
        wait::until_ok("the tap is told of the rest", || {
            let told = slow.dropped();
            let expected = 3 * u64::try_from(sent - slow.calls().len())?;
            ensure!(told == expected, "{told} events instead of {expected}");
            Ok(())
        })?;
        proxy.expect_some("weft_tap_dropped_events_total", &[("reason", "limit")])?;
        proxy.expect_some("weft_tap_events_total", &[])
    })
}

pub(super) fn slow_reader(mesh: &Mesh) -> Result<()> {
    let way = Way { mesh, client: mesh.pod("client"), server: mesh.pod("far"), node: "b", tls: "true" };
    let proxy = mesh.proxy("a").watch()?;
    let origin = way.answering(|_| ok("hello"))?;
    let taps: Vec<Tap> = (0..30)
        .map(|_| {
            let tap = tap(mesh, "a", &["client"])?.direction("outbound").headers_but("").open()?;
            tap.pause(true);
            Ok(tap)
        })
        .collect::<Result<_>>()?;
    let long = format!("X-Long: {}\r\n", "x".repeat(8_000));
    let mut wire = way.connect(origin.port())?;
    // Each request may be shown to all of them; nothing is read.
    wait::until_ok("events are dropped", || {
        for _ in 0..50 {
            ensure!(ask(&mut wire, "/slow", &long)?.text() == "hello");
        }
        proxy.now()?.expect_some("weft_tap_dropped_events_total", &[("reason", "slow_reader")])
    })?;
    wait::promptly("a request while nobody reads", || ask(&mut wire, "/slow", &long))??;
    let first = &taps[0];
    for tap in &taps {
        tap.pause(false);
    }
    wait::until("the reader is told", || first.dropped() > 0)
}

pub(super) fn too_many(mesh: &Mesh) -> Result<()> {
    let way = Way { mesh, client: mesh.pod("client"), server: mesh.pod("near"), node: "a", tls: "local" };
    let origin = way.answering(|_| ok("hello"))?;
    let gauge = || mesh.proxy("a").metrics().map(|metrics| metrics.value("weft_taps", &[]));
    wait::until_ok("earlier taps have ended", || {
        ensure!(gauge()? == 0.0, "{} are open", gauge()?);
        Ok(())
    })?;
    let taps: Vec<Tap> = (0..MAX_TAPS).map(|_| tap(mesh, "a", &["client"])?.open()).collect::<Result<_>>()?;
    let error =
        tap(mesh, "a", &["client"])?.open().err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(error.contains("taps of this node are open already"), "{error:?}");
    let mut wire = way.connect(origin.port())?;
    ask(&mut wire, "/many", "")?;
    for tap in &taps {
        tap.expect(1)?;
    }
    drop(taps);
    wait::until_ok("there is room again", || tap(mesh, "a", &["client"])?.open().map(drop))
}
