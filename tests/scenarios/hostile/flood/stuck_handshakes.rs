//! A pod whose connections never reach the proxy's listener, so that their original destinations stay in the map.

use std::io::{Read, Write};

use anyhow::Result;
use weft_tests::{
    backends,
    mesh::Mesh,
    texts::{log, outcome},
    wait,
};

use super::super::{Program, nft, others_are_served};

/// Drops what is redirected to the proxy: its outbound listener is on 127.0.0.1:15001, and redirected connections may
/// go to any other loopback address but those at the beginning of 127.0.0.0/8.
const DROP: &str = "table inet mallory { chain in { type filter hook input priority 0; tcp dport 15001 drop; \
                    ip daddr 127.0.16.0-127.255.255.255 meta l4proto tcp drop; }; }\n";

pub(super) fn stuck_handshakes(mesh: &Mesh) -> Result<()> {
    let (mallory, far, proxy) = (mesh.pod("mallory"), mesh.pod("far"), mesh.proxy("a"));
    let server = far.serve(mesh.unused_port(), backends::echo())?;
    nft(&mallory, DROP)?;
    let watch = proxy.watch()?;
    let target = [far.v4.to_string(), server.port().to_string()];
    let arguments = [target[0].as_str(), target[1].as_str()];
    let program = Program::start(&mallory, include_str!("connects.py"), &arguments, "opening")?;
    watch.expect_some("weft_capture_total", &[("outcome", outcome::HANDSHAKE_QUOTA)])?;
    watch.expect("weft_capture_total", &[("outcome", outcome::HANDSHAKES_FULL)], 0.0)?;
    proxy.log().expect_line(&[log::KERNEL_LIMIT, outcome::HANDSHAKE_QUOTA])?;
    others_are_served(mesh)?;

    drop(program);
    nft(&mallory, "delete table inet mallory\n")?;
    wait::until_ok("mallory connects again", || {
        let mut stream = mallory.connect(far.at(server.port()))?;
        stream.write_all(b"x")?;
        Ok(stream.read_exact(&mut [0])?)
    })
}
