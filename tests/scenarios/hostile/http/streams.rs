//! HTTP/2 streams that only wait.

use std::{io::Write, thread, time::Duration};

use anyhow::Result;
use weft_tests::{
    attack::http2::{self, Frames, flag, literal},
    mesh::Mesh,
};

use super::{by_each, survive};

pub(super) fn idle_streams(mesh: &Mesh) -> Result<()> {
    const CONNECTIONS: usize = 10;
    const STREAMS: u32 = 900;
    by_each(mesh, |attacker| {
        let server = mesh.pod("victim").serve(mesh.unused_port(), http2::server(|_| Frames::default()))?;
        let target = mesh.pod("victim").at(server.port());
        for (what, head, growth) in
            [("9 000 streams that wait", 10, 120), ("9 000 streams with heads of 60 KB", 60_000, 500)]
        {
            let watch = mesh.proxy(attacker.node).watch()?;
            survive(mesh, what, growth, || {
                let mut streams = Vec::new();
                for _ in 0..CONNECTIONS {
                    let mut stream = attacker.pod.connect(target)?;
                    stream.set_write_timeout(Some(Duration::from_secs(3)))?;
                    stream.write_all(Frames::client(65_535).bytes())?;
                    for n in 0..STREAMS {
                        let fields = literal("x-bomb", &vec![b'a'; head]);
                        let request = Frames::default().request(flag::END_STREAM, 2 * n + 1, &fields);
                        if stream.write_all(request.bytes()).is_err() {
                            break;
                        }
                    }
                    streams.push(stream);
                }
                thread::sleep(Duration::from_secs(2));
                Ok(())
            })?;
            if head > 10_000 {
                watch.expect_some(attacker.metric, &[("pod", attacker.counted), ("error", "loadshed")])?;
            }
        }
        Ok(())
    })
}
