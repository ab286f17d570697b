//! Client programs in several languages, through the mesh.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::{self, Accepted, Behaviour},
    load::{Pattern, Steady, Style},
    mesh::Mesh,
    suite::Area,
};

use crate::fixture::{each_place, serve, two_nodes};

pub(crate) fn area() -> Area {
    Area::new("clients", two_nodes)
        .scenario("curl", "curl (C, non-blocking) fetches large pages from a service by its name.", curl)
        .scenario("socat", "socat (C, select, half-close) receives exactly what it sends.", socat)
        .scenario(
            "python",
            "Python (blocking, timeouts, asyncio) exchanges checked bytes on many connections.",
            python,
        )
        .scenario("rust", "Rust (std) opens and keeps connections without a failure.", rust)
}

const PAGE: usize = 3_000_000;

/// A minimal HTTP/1.1 server: the body is a pattern, connections are kept open.
fn pages() -> Behaviour {
    Arc::new(|accepted: &Accepted| {
        let mut stream = &accepted.stream;
        let mut request = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 {
            request.push(byte[0]);
            if request.ends_with(b"\r\n\r\n") {
                request.clear();
                let mut body = vec![0; PAGE];
                Pattern::new(0).fill(&mut body);
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {PAGE}\r\n\r\n")?;
                stream.write_all(&body)?;
            }
        }
        Ok(())
    })
}

fn curl(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(mesh, place, pages())?;
        let url = format!("http://{place}.test:{}/", server.port());
        for family in ["-4", "-6"] {
            let mut command = mesh.pod("client").command("curl")?;
            command.args(["--silent", "--show-error", "--fail", "--max-time", "30", family, &url, &url]);
            let output = command.output()?;
            ensure!(output.status.success(), "curl {family}: {}", String::from_utf8_lossy(&output.stderr));
            ensure!(output.stdout.len() == 2 * PAGE, "{} bytes were received", output.stdout.len());
            for page in output.stdout.chunks(PAGE) {
                Pattern::new(0).check(page)?;
            }
        }
        server.no_failures()
    })
}

fn socat(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(mesh, place, backends::echo())?;
        let mut sent = vec![0; 2_000_000];
        Pattern::new(5).fill(&mut sent);
        let mut input = tempfile::tempfile()?;
        input.write_all(&sent)?;
        std::io::Seek::rewind(&mut input)?;
        let mut command = mesh.pod("client").command("socat")?;
        // -t: how long it waits for the server's end after its own.
        command
            .args(["-t", "30", "-", &format!("TCP:{place}.test.svc.cluster.local:{}", server.port())])
            .stdin(input);
        let output = command.output()?;
        ensure!(output.status.success(), "socat: {}", String::from_utf8_lossy(&output.stderr));
        ensure!(output.stdout == sent, "{} of {} bytes came back", output.stdout.len(), sent.len());
        server.no_failures()
    })
}

/// Thirty connections in threads, then thirty with asyncio; each sends random bytes and receives them back.
const PYTHON: &str = r"
import asyncio, os, random, socket, sys
from concurrent.futures import ThreadPoolExecutor

host, port = sys.argv[1], int(sys.argv[2])

def blocking(_):
    data = os.urandom(random.randrange(1, 300_000))
    with socket.create_connection((host, port), timeout=30) as s:
        with ThreadPoolExecutor() as sender:
            sent = sender.submit(lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
            back = b''.join(iter(lambda: s.recv(65536), b''))
            sent.result()
    assert back == data, (len(back), len(data))

async def awaiting():
    data = os.urandom(random.randrange(1, 300_000))
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    writer.write_eof()
    back = await reader.read(-1)
    writer.close()
    assert back == data, (len(back), len(data))

async def many():
    await asyncio.wait_for(asyncio.gather(*(awaiting() for _ in range(30))), 60)

with ThreadPoolExecutor(10) as pool:
    list(pool.map(blocking, range(30)))
asyncio.run(many())
print('good')
";

fn python(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(mesh, place, backends::echo())?;
        let port = server.port().to_string();
        let said = mesh.pod("client").run("/usr/bin/python3", &["-c", PYTHON, place, &port])?;
        ensure!(said.trim() == "good", "python printed {said:?}");
        ensure!(server.accepted() == 60, "the server accepted {}", server.accepted());
        server.no_failures()
    })
}

fn rust(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(mesh, place, backends::echo())?;
        let (netns, target) = (mesh.pod("client").netns().clone(), mesh.service(place).at(server.port()));
        let loads = [Style::Fresh, Style::Kept]
            .map(|style| Steady::start(&netns, target, style, 8, std::time::Duration::ZERO));
        loads.iter().try_for_each(|load| load.keep_on(1000))?;
        for load in loads {
            load.stop().no_failures().context("clients")?;
        }
        server.no_failures()
    })
}
