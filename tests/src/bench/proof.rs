//! Proves by weft's own counters that the bytes of each variant take the path that its name says.

mod http;

use std::{io::Read, io::Write, net::SocketAddr, net::TcpStream, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    case::{Kind, MESSAGE, Protocol, Work},
    load::{self, pin},
    samples::Samples,
    testbed::{DIRECT, Testbed},
    variant::{Place, Route, VARIANTS, Variant},
};
use crate::{
    metrics::{Labels, Metrics},
    wait,
};

/// Messages that sk_msg put into the receiver's queue.
const REDIRECTED: Labels<'static> = &[("hook", "sk_msg"), ("outcome", "spliced")];
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends messages and requests by every variant and compares what weft counts.
pub fn prove(testbed: &Testbed) -> Result<()> {
    let reached_at =
        |kind: Kind| VARIANTS.iter().filter(move |variant| variant.route.kinds().contains(&kind));
    reached_at(Kind::Echo).try_for_each(|variant| prove_one(testbed, variant).context(variant.name))?;
    for variant in reached_at(Kind::Http1) {
        for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Grpc] {
            prove_http(testbed, variant.route, protocol)
                .with_context(|| format!("{} {protocol:?}", variant.name))
                .with_context(|| testbed.logs(variant.route))?;
        }
    }
    Ok(())
}

/// One connection with a few requests.
fn prove_http(testbed: &Testbed, route: Route, protocol: Protocol) -> Result<()> {
    const RATE: u32 = 1000;
    const DURATION: Duration = Duration::from_millis(10);
    let work = Work::Http { protocol, rate: Some(RATE), connections: 1, streams: 1 };
    let target = testbed.target(route)?;
    let requests = || -> Result<u64> {
        testbed.client().run(|| {
            pin(load::Side::Client)?;
            Ok(load::start(work, &target)?.run(DURATION, &mut Samples::default())?.operations)
        })?
    };
    // A process that has only just started may refuse the first connection.
    wait::until_ok("a request", || requests().map(drop))?;
    let before = testbed.metrics()?;
    let sent = requests()?;
    check(testbed, route, work, sent, &before)
}

fn prove_one(testbed: &Testbed, variant: &Variant) -> Result<()> {
    let echo = testbed.target(variant.route)?.at(Kind::Echo)?;
    // A proxy that has only just started may refuse the first connection.
    wait::until_ok("an echo", || testbed.client().run(|| exchange(echo, 1))?)
        .with_context(|| testbed.logs(variant.route))?;
    testbed.establish_direct_path(variant.route)?;
    let before = testbed.metrics()?;
    // The proxy installs the redirect while the first messages are on their way.
    let rounds = if matches!(variant.route, Route::Spliced(_)) { 20 } else { 1 };
    testbed.client().run(|| exchange(echo, rounds))??;
    // The kernel reports direct connections to the proxy a moment later.
    wait::until_ok("the proxies count it", || expect_path(testbed, variant, rounds, &before))
}

/// The counters after one connection with so many messages each way.
fn expect_path(testbed: &Testbed, variant: &Variant, rounds: usize, before: &[Metrics; 2]) -> Result<()> {
    let now = testbed.metrics()?;
    let [near, far] = [now[0].since(&before[0]), now[1].since(&before[1])];
    let opened =
        |tls| near.value("tcp_open_total", &[("direction", "outbound"), ("peer", "dst"), ("tls", tls)]);
    let (expected, found) = match variant.route {
        Route::Weft(Place::Far) | Route::Spliced(Place::Far) => (1.0, opened("true")),
        Route::Weft(Place::Near) | Route::Spliced(Place::Near) | Route::DirectPass => (1.0, opened("local")),
        Route::Direct(_) | Route::Pair(_) => {
            (0.0, near.value("tcp_open_total", &[]) + far.value("tcp_open_total", &[]))
        }
    };
    ensure!(found == expected, "weft counts {found} of its connections, not {expected}");
    expect_splicing(variant.route, rounds, &near, &far)?;
    let expected = if variant.route == Route::DirectPass { 1.0 } else { 0.0 };
    let direct = near.value("weft_capture_total", &DIRECT);
    ensure!(direct == expected, "{direct} connections went directly, not {expected}");
    // Counted once for the source and once for the destination.
    let ends = near.value("weft_direct_connections_total", &[]);
    ensure!(ends == 2.0 * expected, "{ends} ends of direct connections were counted");
    Ok(())
}

/// A same-node connection is spliced from application to application, a cross-node one on both nodes between the
/// application and its proxy; no other connection is.
fn expect_splicing(route: Route, rounds: usize, near: &Metrics, far: &Metrics) -> Result<()> {
    let bytes = near.value("weft_splice_bytes_total", &[]);
    let expected = if route == Route::Spliced(Place::Near) { (rounds * MESSAGE) as f64 } else { 0.0 };
    ensure!(bytes >= expected && (bytes > 0.0) == (expected > 0.0), "{bytes} bytes were spliced");
    for (node, metrics) in [("client", near), ("server", far)] {
        let is_expected = route == Route::Spliced(Place::Far);
        let connections = metrics.value("weft_splice_hops_total", &[]);
        ensure!(
            connections == f64::from(is_expected),
            "{connections} connections were spliced to the proxy of the {node}'s node"
        );
        let redirected = metrics.value("weft_capture_total", REDIRECTED);
        ensure!(
            !is_expected || redirected >= rounds as f64,
            "{redirected} messages were redirected on the {node}'s node, of {} both ways",
            2 * rounds
        );
    }
    Ok(())
}

/// Checks that what was measured on `route` took its path, by what the proxies have counted since `before`. A proxy
/// that was restarted may have lost it, and a connection that cannot be spliced, or go directly, is relayed silently.
pub fn check(
    testbed: &Testbed,
    route: Route,
    work: Work,
    operations: u64,
    before: &[Metrics; 2],
) -> Result<()> {
    if work.is_http() {
        // The proxies count the end of a request a moment after the client has its answer.
        return wait::until_ok("the proxies count it", || {
            http::expect(route, work.units(), operations, before, &testbed.metrics()?)
        });
    }
    let now = testbed.metrics()?;
    let [near, far] = [now[0].since(&before[0]), now[1].since(&before[1])];
    match (route, work) {
        (Route::Spliced(Place::Near), Work::Echo { .. }) => {
            let spliced = near.value("weft_splice_bytes_total", &[]);
            let all = 2.0 * operations as f64 * MESSAGE as f64;
            ensure!(spliced >= all / 2.0, "of {all} bytes, {spliced} were spliced");
        }
        (Route::Spliced(Place::Far), _) => {
            for (node, metrics) in [("client", &near), ("server", &far)] {
                expect_redirects(work, operations, metrics).with_context(|| format!("the {node}'s node"))?;
            }
        }
        (Route::DirectPass, _) => {
            let relayed = near.value("weft_capture_total", &[("hook", "connect"), ("outcome", "redirected")]);
            ensure!(relayed == 0.0, "{relayed} connections went through the proxy and not directly");
        }
        _ => {}
    }
    Ok(())
}

/// Between the applications of one node and their proxy. A stream that never pauses may stay with TCP, and a connection
/// for one message may be over before the redirect is installed: there only the connections count.
fn expect_redirects(work: Work, operations: u64, metrics: &Metrics) -> Result<()> {
    let connections = metrics.value("weft_splice_hops_total", &[]);
    ensure!(connections > 0.0, "no connection was spliced");
    if let Work::Echo { .. } = work {
        let redirected = metrics.value("weft_capture_total", REDIRECTED);
        let all = 2.0 * operations as f64;
        ensure!(redirected >= all / 2.0, "of {all} messages, {redirected} were redirected");
    }
    Ok(())
}

fn exchange(echo: SocketAddr, rounds: usize) -> Result<()> {
    let mut stream = TcpStream::connect(echo).with_context(|| echo.to_string())?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    for _ in 0..rounds {
        stream.write_all(&[7; MESSAGE])?;
        stream.read_exact(&mut [0; MESSAGE])?;
    }
    Ok(())
}
