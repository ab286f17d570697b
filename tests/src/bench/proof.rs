//! Do the bytes of every variant really go the way that its name says?

use std::{io::Read, io::Write, net::SocketAddr, net::TcpStream, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    case::MESSAGE,
    ground::Ground,
    variant::{Place, Route, VARIANTS, Variant},
};
use crate::wait;

/// Sends a message by each and looks at what weft counts of it.
pub fn prove(ground: &Ground) -> Result<()> {
    VARIANTS.iter().try_for_each(|variant| prove_one(ground, variant).context(variant.name))
}

fn prove_one(ground: &Ground, variant: &Variant) -> Result<()> {
    let echo = ground.target(variant.route)?.echo;
    // The first one may come while a proxy has only just started.
    wait::until_ok("an echo", || ground.client().run(|| exchange(echo, 1))?)
        .with_context(|| ground.complaints(variant.route))?;
    let before = ground.metrics()?;
    // The kernel is told of the way while the first message is on it.
    let rounds = if variant.route == Route::Spliced { 20 } else { 1 };
    ground.client().run(|| exchange(echo, rounds))??;
    let after = ground.metrics()?;
    let labels = |tls| [("direction", "outbound"), ("peer", "dst"), ("tls", tls)];
    let seen = |node: usize, labels| after[node].since(&before[node]).value("tcp_open_total", labels);
    let (expected, found) = match variant.route {
        Route::Weft(Place::Far) => (1.0, seen(0, &labels("true"))),
        Route::Weft(Place::Near) | Route::Spliced => (1.0, seen(0, &labels("local"))),
        Route::Direct(_) | Route::Haproxy { .. } => (0.0, seen(0, &[][..]) + seen(1, &[])),
    };
    ensure!(found == expected, "weft counts {found} of its connections, not {expected}");
    let spliced = after[0].since(&before[0]).value("weft_splice_bytes_total", &[]);
    let expected = if variant.route == Route::Spliced { (rounds * MESSAGE) as f64 } else { 0.0 };
    ensure!(spliced >= expected && (spliced > 0.0) == (expected > 0.0), "{spliced} bytes were spliced");
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
