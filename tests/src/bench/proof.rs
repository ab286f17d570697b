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
    wait::until_ok("an echo", || ground.client().run(|| exchange(echo))?)
        .with_context(|| ground.complaints(variant.route))?;
    let before = ground.metrics()?;
    ground.client().run(|| exchange(echo))??;
    let after = ground.metrics()?;
    let labels = |tls| [("direction", "outbound"), ("peer", "dst"), ("tls", tls)];
    let seen = |node: usize, labels| after[node].since(&before[node]).value("tcp_open_total", labels);
    let (expected, found) = match variant.route {
        Route::Weft(Place::Far) => (1.0, seen(0, &labels("true"))),
        Route::Weft(Place::Near) => (1.0, seen(0, &labels("local"))),
        Route::Direct(_) | Route::Haproxy { .. } => (0.0, seen(0, &[][..]) + seen(1, &[])),
    };
    ensure!(found == expected, "weft counts {found} of its connections, not {expected}");
    Ok(())
}

fn exchange(echo: SocketAddr) -> Result<()> {
    let patience = Some(Duration::from_secs(5));
    let mut stream = TcpStream::connect(echo).with_context(|| echo.to_string())?;
    stream.set_read_timeout(patience)?;
    stream.write_all(&[7; MESSAGE])?;
    Ok(stream.read_exact(&mut [0; MESSAGE])?)
}
