//! The server: one thread for all ports of a pod, and one for those with HTTP/2.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use nix::{
    poll::PollFlags,
    sys::eventfd::{EfdFlags, EventFd},
};
use socket2::{Domain, Socket, Type};

use super::{
    Side, TIMEOUT,
    http::{Ends, HTTP1_ANSWER, Http2Server},
    pin,
    poller::{Poller, READ, wait_for},
};
use crate::{bench::case::Kind, netns::Netns};

/// The threads end when this is dropped.
pub struct Server {
    received: Arc<AtomicU64>,
    end: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    _http2: Option<Http2Server>,
}

/// The state of the thread.
struct Serving {
    poller: Poller,
    listeners: Vec<(TcpListener, Kind)>,
    streams: HashMap<usize, Connection>,
    next: usize,
    received: Arc<AtomicU64>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    kind: Kind,
    /// Of HTTP/1.1 requests.
    ends: Ends,
}

/// The poller's number for the event that ends the thread.
const END: usize = usize::MAX;

impl Server {
    /// Listens inside `netns`, on all of the pod's addresses.
    pub fn start(netns: &Netns, ports: &[(u16, Kind)]) -> Result<Self> {
        let listeners =
            netns.run(|| ports.iter().map(|(port, kind)| Ok((listen(*port)?, *kind))).collect())?;
        let listeners: io::Result<Vec<_>> = listeners;
        let (http2, listeners): (Vec<_>, _) =
            listeners.context("listening")?.into_iter().partition(|(_, kind)| *kind == Kind::Http2);
        let http2: Vec<_> = http2.into_iter().map(|(listener, _)| listener).collect();
        let http2 = if http2.is_empty() { None } else { Some(Http2Server::start(http2)?) };
        let received = Arc::new(AtomicU64::new(0));
        let end = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let mut serving = Serving::new(listeners, received.clone(), &end)?;
        let thread = thread::Builder::new().name("bench-server".to_owned()).spawn(move || {
            if let Err(e) = pin(Side::Server).map_err(Into::into).and_then(|()| serving.run()) {
                eprintln!("the benchmark's server failed: {e:#}");
            }
        })?;
        Ok(Self { received, end, thread: Some(thread), _http2: http2 })
    }

    /// The counter of bytes that the sinks have received.
    pub fn received(&self) -> Arc<AtomicU64> {
        self.received.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.end.write(1).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Serving {
    fn new(listeners: Vec<(TcpListener, Kind)>, received: Arc<AtomicU64>, end: &EventFd) -> Result<Self> {
        let poller = Poller::new()?;
        poller.add(end, READ, END)?;
        for (number, (listener, _)) in listeners.iter().enumerate() {
            poller.add(listener, READ, number)?;
        }
        let next = listeners.len();
        let buffer = vec![0; 256 << 10];
        Ok(Self { poller, listeners, streams: HashMap::new(), next, received, buffer })
    }

    fn run(&mut self) -> Result<()> {
        loop {
            for index in 0..self.poller.wait()? {
                let number = self.poller.number(index);
                if number == END {
                    return Ok(());
                }
                if let Some((listener, kind)) = self.listeners.get(number) {
                    let (accepted, kind) = (listener.accept(), *kind);
                    self.accepted(accepted.map(|(stream, _)| stream), kind)?;
                } else if self.serve(number).is_err() {
                    // Closing it removes it from epoll.
                    self.streams.remove(&number);
                }
            }
        }
    }

    fn accepted(&mut self, stream: io::Result<TcpStream>, kind: Kind) -> Result<()> {
        // The client has already closed the connection.
        let Ok(stream) = stream else { return Ok(()) };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.poller.add(&stream, READ, self.next)?;
        self.streams.insert(self.next, Connection { stream, kind, ends: Ends::default() });
        self.next += 1;
        Ok(())
    }

    /// An error ends the connection.
    fn serve(&mut self, number: usize) -> io::Result<()> {
        let Some(Connection { stream, kind, ends }) = self.streams.get_mut(&number) else { return Ok(()) };
        let length = match stream.read(&mut self.buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            length => length?,
        };
        match kind {
            Kind::Echo => send(stream, &self.buffer[..length]),
            Kind::Sink => {
                self.received.fetch_add(length as u64, Ordering::Release);
                Ok(())
            }
            Kind::Http1 => {
                let requests = ends.count(&self.buffer[..length]);
                (0..requests).try_for_each(|_| send(stream, &HTTP1_ANSWER))
            }
            // Served by the other thread.
            Kind::Http2 => Ok(()),
        }
    }
}

/// Sends everything; clients always read.
fn send(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                wait_for(stream, PollFlags::POLLOUT, TIMEOUT).map(drop)?
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
