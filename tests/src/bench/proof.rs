//! Do the bytes of every variant really go the way that its name says?

use std::{io::Read, io::Write, net::SocketAddr, net::TcpStream, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    case::{MESSAGE, Work},
    ground::{DIRECTLY, Ground},
    variant::{Place, Route, VARIANTS, Variant},
};
use crate::{metrics::Metrics, wait};

/// Sends a message by each and looks at what weft counts of it.
pub fn prove(ground: &Ground) -> Result<()> {
    VARIANTS.iter().try_for_each(|variant| prove_one(ground, variant).context(variant.name))
}

fn prove_one(ground: &Ground, variant: &Variant) -> Result<()> {
    let echo = ground.target(variant.route)?.echo;
    // The first one may come while a proxy has only just started.
    wait::until_ok("an echo", || ground.client().run(|| exchange(echo, 1))?)
        .with_context(|| ground.complaints(variant.route))?;
    ground.pave(variant.route)?;
    let before = ground.metrics()?;
    // The kernel is told of the way while the first message is on it.
    let rounds = if variant.route == Route::Spliced { 20 } else { 1 };
    ground.client().run(|| exchange(echo, rounds))??;
    // Of what goes past the proxy it hears from the kernel, a moment later.
    wait::until_ok("the proxies count it", || counted(ground, variant, rounds, &before))
}

fn counted(ground: &Ground, variant: &Variant, rounds: usize, before: &[Metrics; 2]) -> Result<()> {
    let now = ground.metrics()?;
    let [near, far] = [now[0].since(&before[0]), now[1].since(&before[1])];
    let opened =
        |tls| near.value("tcp_open_total", &[("direction", "outbound"), ("peer", "dst"), ("tls", tls)]);
    let (expected, found) = match variant.route {
        Route::Weft(Place::Far) => (1.0, opened("true")),
        Route::Weft(Place::Near) | Route::Spliced | Route::Passed => (1.0, opened("local")),
        Route::Direct(_) | Route::Haproxy { .. } => {
            (0.0, near.value("tcp_open_total", &[]) + far.value("tcp_open_total", &[]))
        }
    };
    ensure!(found == expected, "weft counts {found} of its connections, not {expected}");
    let spliced = near.value("weft_splice_bytes_total", &[]);
    let expected = if variant.route == Route::Spliced { (rounds * MESSAGE) as f64 } else { 0.0 };
    ensure!(spliced >= expected && (spliced > 0.0) == (expected > 0.0), "{spliced} bytes were spliced");
    // One by both who opened and who accepted it; none of any other variant's.
    let expected = if variant.route == Route::Passed { 1.0 } else { 0.0 };
    let directly = near.value("weft_capture_total", &DIRECTLY);
    ensure!(directly == expected, "{directly} connections went directly, not {expected}");
    let ends = near.value("weft_direct_connections_total", &[]);
    ensure!(ends == 2.0 * expected, "{ends} ends of direct connections were counted");
    Ok(())
}

/// Whether what was measured on `route` went that way, by what the proxies have counted since `before`: a proxy that was
/// restarted may have lost it, and a connection that cannot be spliced, or go directly, is relayed without a word.
pub fn went(ground: &Ground, route: Route, work: Work, operations: u64, before: &[Metrics; 2]) -> Result<()> {
    let near = ground.metrics()?[0].since(&before[0]);
    match (route, work) {
        (Route::Spliced, Work::Echo { .. }) => {
            let (spliced, all) =
                (near.value("weft_splice_bytes_total", &[]), 2.0 * operations as f64 * MESSAGE as f64);
            ensure!(spliced >= all / 2.0, "of {all} bytes, {spliced} were spliced");
        }
        (Route::Passed, _) => {
            let relayed = near.value("weft_capture_total", &[("hook", "connect"), ("outcome", "redirected")]);
            ensure!(relayed == 0.0, "{relayed} connections took the proxy, and not the direct way");
        }
        _ => {}
    }
    Ok(())
}

fn exchange(echo: SocketAddr, rounds: usize) -> Result<()> {
    let patience = Some(Duration::from_secs(5));
    let mut stream = TcpStream::connect(echo).with_context(|| echo.to_string())?;
    stream.set_read_timeout(patience)?;
    for _ in 0..rounds {
        stream.write_all(&[7; MESSAGE])?;
        stream.read_exact(&mut [0; MESSAGE])?;
    }
    Ok(())
}
