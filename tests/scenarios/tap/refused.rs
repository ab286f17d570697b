//! Who may tap.

use anyhow::{Context, Result, bail, ensure};
use weft_tests::{
    attack::{Authority, Leaf},
    mesh::Mesh,
    tap::{TAP_IDENTITY, tap},
};

pub(super) fn refused(mesh: &Mesh) -> Result<()> {
    let authority = Authority::of_mesh(mesh.control().folder())?;
    let other = mesh.pod("far").identity();
    let certificates: Vec<(&str, Option<Leaf>, &str)> = vec![
        ("no certificate", None, "the client has no identity"),
        ("a pod's identity", Some(authority.leaf(&other)?), "may not tap"),
        (
            "the proxies' identity",
            Some(authority.leaf("weft-proxy.linkerd.serviceaccount.identity.linkerd.cluster.local")?),
            "may not tap",
        ),
        ("an expired certificate", Some(authority.expired_leaf(TAP_IDENTITY)?), "the TLS handshake failed"),
        (
            "a foreign authority",
            Some(Authority::foreign("evil")?.leaf(TAP_IDENTITY)?),
            // As before: lines of one kind are bounded.
            "",
        ),
    ];
    let proxy = mesh.proxy("a").watch()?;
    for (name, leaf, reason) in certificates {
        let proxy = mesh.proxy("a").watch()?;
        mesh.proxy("a").log().mark();
        if tap(mesh, "a", &["client"])?.by(leaf).open().is_ok() {
            bail!("{name}: the tap was accepted");
        }
        if !reason.is_empty() {
            let line = mesh.proxy("a").log().expect_line(&["a tap was refused", reason]);
            line.with_context(|| name.to_owned())?;
        }
        // A client may try again.
        proxy.expect_some("weft_tap_refused_connections_total", &[])?;
    }
    proxy.expect("weft_tap_events_total", &[], 0.0)?;
    tap(mesh, "a", &["client"])?.open().map(drop)
}

pub(super) fn off(mesh: &Mesh) -> Result<()> {
    let file = mesh.folder()?.join("proxy-a/tap-address");
    ensure!(!file.exists(), "{} exists", file.display());
    let certificates =
        mesh.proxy("a").metrics()?.label_values("control_identity_cert_refreshes_total", &[], "identity");
    ensure!(!certificates.iter().any(|identity| identity.starts_with("weft-proxy.")), "{certificates:?}");
    Ok(())
}
