//! Floods of HTTP/2 frames.

use std::time::Duration;

use anyhow::{Result, ensure};
use weft_tests::{
    attack::{
        Flood,
        http2::{self, Frames, LAST_REMEMBERED, flag, kind, literal, remembered},
    },
    mesh::Mesh,
    suite::Area,
};

use super::{by_each, cluster, survive};

pub(super) fn area() -> Area {
    Area::new("http_hostile_frames", cluster)
        .scenario("rapid_reset", "Streams that are opened and reset at once end the connection.", rapid_reset)
        .scenario(
            "slow_reset",
            "Requests that are cancelled a moment later, without end, cost no memory.",
            slow_reset,
        )
        .scenario(
            "continuation_flood",
            "A head in CONTINUATION frames without end is refused, whether they are full or empty.",
            continuation_flood,
        )
        .scenario(
            "header_bombs",
            "Headers that are too large when decoded, too many, or that abuse the table of HPACK are refused.",
            header_bombs,
        )
        .scenario(
            "control_floods",
            "SETTINGS, PING, PRIORITY and WINDOW_UPDATE without end are counted, and end the connection with GOAWAY.",
            control_floods,
        )
        .within(Duration::from_secs(150))
        .scenario("empty_data", "Empty DATA frames without end are refused.", empty_data)
}

/// What a flood is made of, and what must come of it.
struct Frequent<'a> {
    what: &'a str,
    first: Frames,
    next: &'a (dyn Fn(u32) -> Frames + Sync),
    /// The reason in the log; `None`: the connections are not ended.
    reason: Option<&'a str>,
    /// The label `error` of the metric.
    error: &'a str,
}

const PROTOCOL: &str = "protocol error";
const ENHANCE_YOUR_CALM: u32 = 11;
/// How h2 calls it.
const EXCESSIVE: &str = "excessive load";

/// Floods an application that answers, from both attackers.
fn flood(mesh: &Mesh, frames: &Frequent<'_>) -> Result<()> {
    let what = frames.what;
    by_each(mesh, |attacker| {
        let server = mesh.pod("victim").serve(mesh.unused_port(), http2::server(http2::ok))?;
        let watch = mesh.proxy(attacker.node).watch()?;
        mesh.mark_logs();
        let flood = Flood {
            netns: attacker.pod.netns(),
            target: mesh.pod("victim").at(server.port()),
            clients: 4,
            lasts: Duration::from_secs(3),
        };
        let first = frames.first.bytes();
        let flooded = survive(mesh, what, 32, || flood.run(first, |n| (frames.next)(n).bytes().to_vec()))?;
        println!("    {flooded}");
        match frames.reason {
            Some(reason) => {
                ensure!(flooded.ended > 0, "{what}: no connection was ended");
                if frames.error == "flood" {
                    let calm = flooded.goaways.get(&ENHANCE_YOUR_CALM).copied().unwrap_or_default();
                    ensure!(calm > 0, "{what}: nobody asked for calm: {flooded}");
                }
                attacker.noticed(mesh, &watch, frames.error, reason)
            }
            None => {
                ensure!(flooded.ended == 0, "{what}: connections were ended");
                Ok(())
            }
        }
    })
}

fn rapid_reset(mesh: &Mesh) -> Result<()> {
    flood(
        mesh,
        &Frequent {
            what: "rapid reset",
            first: Frames::client(65_535),
            next: &|n| {
                (0..100).fold(Frames::default(), |frames, i| {
                    let stream = (n * 100 + i) * 2 + 1;
                    frames.request(flag::END_STREAM, stream, &[]).frame(
                        kind::RST_STREAM,
                        0,
                        stream,
                        &8u32.to_be_bytes(),
                    )
                })
            },
            reason: Some(EXCESSIVE),
            error: PROTOCOL,
        },
    )
}

fn slow_reset(mesh: &Mesh) -> Result<()> {
    flood(
        mesh,
        &Frequent {
            what: "requests that are cancelled a moment later",
            first: Frames::client(65_535),
            next: &|n| {
                std::thread::sleep(Duration::from_millis(2));
                let frames =
                    (0..10).fold(Frames::default(), |frames, i| frames.request(0, (n * 10 + i) * 2 + 1, &[]));
                let Some(before) = n.checked_sub(3) else { return frames };
                (0..10).fold(frames, |frames, i| {
                    let stream = (before * 10 + i) * 2 + 1;
                    frames.frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes())
                })
            },
            reason: None,
            error: PROTOCOL,
        },
    )
}

fn continuation_flood(mesh: &Mesh) -> Result<()> {
    let first = Frames::client(65_535).frame(kind::HEADERS, flag::END_STREAM, 1, &[0x82, 0x86, 0x84]);
    for (what, payload) in [("empty CONTINUATION", Vec::new()), ("full CONTINUATION", field().repeat(15))] {
        let next =
            |_| (0..16).fold(Frames::default(), |all, _| all.frame(kind::CONTINUATION, 0, 1, &payload));
        flood(
            mesh,
            &Frequent { what, first: first.clone(), next: &next, reason: Some(EXCESSIVE), error: PROTOCOL },
        )?;
    }
    Ok(())
}

/// A field of about 1 KB.
fn field() -> Vec<u8> {
    literal("x-bomb", &[b'a'; 1_000])
}

fn header_bombs(mesh: &Mesh) -> Result<()> {
    // One field of 4 000 bytes fills the table; each further byte repeats it.
    let table = [remembered("x-bomb", &[b'a'; 4_000]), vec![LAST_REMEMBERED; 10_000]].concat();
    let small = literal("a", b"b").repeat(20_000);
    let large = literal("x-bomb", &vec![b'a'; 1 << 20]);
    // h2 answers a list that is a little too large with 431, and goes on.
    for (what, block, reason) in [
        ("a table bomb of HPACK", table, Some(EXCESSIVE)),
        ("20 000 small headers", small, None),
        ("a header of 1 MB", large, Some("connection error")),
    ] {
        let next = |n: u32| Frames::default().request(flag::END_STREAM, 2 * n + 1, &block);
        flood(mesh, &Frequent { what, first: Frames::client(65_535), next: &next, reason, error: PROTOCOL })?;
    }
    Ok(())
}

fn control_floods(mesh: &Mesh) -> Result<()> {
    let settings = |_| (0..500).fold(Frames::default(), |all, _| all.frame(kind::SETTINGS, 0, 0, &[]));
    let pings = |_| (0..500).fold(Frames::default(), |all, _| all.frame(kind::PING, 0, 0, &[7; 8]));
    let windows = |_| {
        let one = 1u32.to_be_bytes();
        (0..500).fold(Frames::default(), |all, _| all.frame(kind::WINDOW_UPDATE, 0, 0, &one))
    };
    let priorities = |_| {
        (0..500u32)
            .fold(Frames::default(), |all, n| all.frame(kind::PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1]))
    };
    let floods: [(&str, &(dyn Fn(u32) -> Frames + Sync)); 4] =
        [("SETTINGS", &settings), ("PING", &pings), ("WINDOW_UPDATE", &windows), ("PRIORITY", &priorities)];
    for (what, next) in floods {
        let reason = format!("a flood of {what}");
        let first = Frames::client(65_535);
        flood(mesh, &Frequent { what, first, next, reason: Some(&reason), error: "flood" })?;
    }
    Ok(())
}

fn empty_data(mesh: &Mesh) -> Result<()> {
    let next = |_| (0..500).fold(Frames::default(), |all, _| all.frame(kind::DATA, 0, 1, &[]));
    let first = Frames::client(65_535).request(0, 1, &[]);
    flood(
        mesh,
        &Frequent { what: "empty DATA", first, next: &next, reason: Some(EXCESSIVE), error: PROTOCOL },
    )
}
