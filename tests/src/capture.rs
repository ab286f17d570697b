//! Packet capture: an AF_PACKET socket on a node's `wire`, or on another interface.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    net::IpAddr,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    net::if_::if_nametoindex,
    sys::socket::{setsockopt, sockopt},
};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::netns::Netns;

/// The interface of a node that carries the traffic between nodes and nothing else.
pub const WIRE: &str = "wire";

/// A running capture.
pub struct Capture {
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<io::Result<Vec<Packet>>>>,
}

/// One end of a connection.
pub type End = (IpAddr, u16);

/// A TCP segment that carried data.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: End,
    pub destination: End,
    pub sequence: u32,
    pub payload: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// The segments, in order.
    pub packets: Vec<Packet>,
}

impl Capture {
    /// Captures on `wire` of a node; everything that is sent after this returns is captured.
    pub fn start(node: &Netns) -> Result<Self> {
        Self::on(node, WIRE)
    }

    /// Captures on any interface of any namespace.
    pub fn on(netns: &Netns, interface: &str) -> Result<Self> {
        Self::of(netns, interface, |_| true)
    }

    /// [`Capture::start`] that keeps only the packets that `wanted` selects.
    pub fn start_for(node: &Netns, wanted: impl Fn(&Packet) -> bool + Send + 'static) -> Result<Self> {
        Self::of(node, WIRE, wanted)
    }

    fn of(netns: &Netns, interface: &str, wanted: impl Fn(&Packet) -> bool + Send + 'static) -> Result<Self> {
        let socket = netns.run(|| packet_socket(interface))?.context("AF_PACKET socket")?;
        // Root may exceed the limit.
        setsockopt(&socket, sockopt::RcvBufForce, &QUEUE)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stop_reading = stop.clone();
        let reader = thread::spawn(move || read_all(socket, &stop_reading, wanted));
        Ok(Self { stop, reader: Some(reader) })
    }

    pub fn finish(mut self) -> Result<Captured> {
        self.stop.store(true, Ordering::Relaxed);
        let reader = self.reader.take().context("the capture's thread")?;
        let packets = reader.join().map_err(|_| anyhow::anyhow!("the capture panicked"))??;
        Ok(Captured { packets })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

// === impl Captured ===

impl Captured {
    /// The packets from or to this address and port.
    pub fn of(&self, address: IpAddr, port: u16) -> Self {
        let ours = |packet: &&Packet| [packet.source, packet.destination].contains(&(address, port));
        Self { packets: self.packets.iter().filter(ours).cloned().collect() }
    }

    /// The number of data bytes.
    pub fn bytes(&self) -> usize {
        self.packets.iter().map(|packet| packet.payload.len()).sum()
    }

    /// Whether a reassembled stream contains these bytes.
    pub fn contains(&self, needle: &[u8]) -> bool {
        self.streams().values().any(|stream| stream.windows(needle.len()).any(|window| window == needle))
    }

    /// Each direction of each connection, reassembled; retransmissions count once.
    pub fn streams(&self) -> BTreeMap<(End, End), Vec<u8>> {
        let mut segments: BTreeMap<_, BTreeMap<u32, &[u8]>> = BTreeMap::new();
        let mut first: BTreeMap<_, u32> = BTreeMap::new();
        for packet in &self.packets {
            let key = (packet.source, packet.destination);
            let start = *first.entry(key).or_insert(packet.sequence);
            // Relative to the first one seen, so that sequence numbers that wrap around are sorted correctly.
            let place = packet.sequence.wrapping_sub(start);
            segments.entry(key).or_default().insert(place, &packet.payload);
        }
        let join = |parts: BTreeMap<u32, &[u8]>| {
            let mut stream = Vec::new();
            for (place, part) in parts {
                let skip = stream.len().saturating_sub(place as usize);
                stream.extend_from_slice(part.get(skip..).unwrap_or_default());
            }
            stream
        };
        segments.into_iter().map(|(key, parts)| (key, join(parts))).collect()
    }
}

/// TLS records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The number of complete records.
    pub whole: usize,
    /// Whether the last one is incomplete, as in a connection that was reset.
    pub cut: bool,
}

/// The records of a stream; `None` if it contains anything but TLS records.
pub fn tls_records(mut stream: &[u8]) -> Option<Records> {
    let mut records = Records::default();
    while let Some(kind) = stream.first() {
        // Change cipher spec, alert, handshake, application data. TLS 1.3 writes versions 1.0 to 1.2 here.
        if !(20..=23).contains(kind) || stream.get(1).is_some_and(|major| *major != 3) {
            return None;
        }
        let length = stream.get(3..5).map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])));
        let Some(rest) = length.and_then(|length| stream.get(5 + length..)) else {
            records.cut = true;
            return Some(records);
        };
        records.whole += 1;
        stream = rest;
    }
    Some(records)
}

fn packet_socket(interface: &str) -> io::Result<Socket> {
    let all = (libc::ETH_P_ALL as u16).to_be();
    // Protocol 0 at first, so that nothing is received before the socket is bound to the interface.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    let mut address = SockAddrStorage::zeroed();
    // SAFETY: a sockaddr_ll is plain numbers and smaller than the storage; AF_PACKET's bind() reads just that.
    let link = unsafe { address.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = all;
    link.sll_ifindex = if_nametoindex(interface)? as i32;
    // SAFETY: the storage was zeroed and holds a sockaddr_ll, whose length this is.
    let address = unsafe { SockAddr::new(address, size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
    socket.bind(&address)?;
    Ok(socket)
}

/// Large enough for what a busy machine leaves unread for a while.
const QUEUE: usize = 32 << 20;

/// The number of packets that did not fit into the queue.
fn lost(socket: &Socket) -> io::Result<u32> {
    let mut counted = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of_val(&counted) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to a struct of that size, which is plain numbers.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut counted).cast(),
            &raw mut length,
        )
    };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(counted.tp_drops)
}

/// An error if packets were lost: they might have been those that a scenario looks for.
fn complete(socket: &Socket, packets: Vec<Packet>) -> io::Result<Vec<Packet>> {
    match lost(socket)? {
        0 => Ok(packets),
        lost => Err(io::Error::other(format!("the capture missed {lost} packets"))),
    }
}

/// Where packets never stop: how long it may take to read what was sent before the end.
const REST: Duration = Duration::from_millis(500);

fn read_all(
    mut socket: Socket,
    stop: &AtomicBool,
    wanted: impl Fn(&Packet) -> bool,
) -> io::Result<Vec<Packet>> {
    let mut packets = Vec::new();
    let mut frame = vec![0; 128 << 10];
    let mut is_last_read = false;
    let mut stopped: Option<Instant> = None;
    loop {
        if stopped.is_some_and(|stopped| stopped.elapsed() > REST) {
            return complete(&socket, packets);
        }
        match socket.read(&mut frame) {
            Ok(n) => {
                packets.extend(parse(&frame[..n]).filter(&wanted));
                if stopped.is_none() && stop.load(Ordering::Relaxed) {
                    stopped = Some(Instant::now());
                }
            }
            // One more read after the stop: what was sent before it is in the queue.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && is_last_read => return Ok(packets),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => is_last_read = stop.load(Ordering::Relaxed),
            // Reported once; capturing continues when the interface is up again.
            Err(e) if e.kind() == io::ErrorKind::NetworkDown => {}
            Err(e) => return Err(e),
        }
    }
}

/// An Ethernet frame with TCP over IPv4 or IPv6 (no extension headers) that carries data.
fn parse(frame: &[u8]) -> Option<Packet> {
    let ip = frame.get(14..)?;
    let address4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    let address6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(ip.get(at..at + 16)?).ok()?));
    let (source, destination, start, end) = match frame.get(12..14)? {
        [0x08, 0x00] if ip.get(9)? == &6 => {
            let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
            (address4(12)?, address4(16)?, usize::from(ip[0] & 15) * 4, total)
        }
        [0x86, 0xdd] if ip.get(6)? == &6 => {
            let payload = usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
            (address6(8)?, address6(24)?, 40, 40 + payload)
        }
        _ => return None,
    };
    // A veth passes segments larger than 64 KiB on with a total length of 0.
    let end = if end <= start { ip.len() } else { end };
    let tcp = ip.get(start..end)?;
    let data = usize::from(tcp.get(12)? >> 4) * 4;
    let payload = tcp.get(data..)?.to_vec();
    let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
    let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    let packet = Packet { source: (source, port(0)), destination: (destination, port(2)), sequence, payload };
    (!packet.payload.is_empty()).then_some(packet)
}
