//! Finds out where an accepted connection comes from and where it was going.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tracing::warn;

use super::DataPath;
use crate::{capture::Capture, net::Direction, workload::Workload};

/// The two ends of a connection, as applications see them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The address that was dialled: outbound the original destination, inbound the pod's own.
    pub(super) target: SocketAddr,
    pub(super) client: SocketAddr,
    /// The port opted in to splicing.
    pub(super) may_splice: bool,
}

/// The ends of a connection that the proxy accepted for `workload`. `None`: somebody in the pod connected to the proxy's
/// own port, or the kernel had no room for the original destination (counted there).
pub(super) fn identify(
    data_path: &DataPath,
    workload: &Workload,
    direction: Direction,
    stream: &TcpStream,
) -> Option<Ends> {
    let ends = match direction {
        Direction::Outbound => outbound(&data_path.capture, workload, stream),
        Direction::Inbound => inbound(workload, stream),
    };
    if ends.is_none() && workload.log_limiter.allow("no original destination") {
        warn!(workload = %workload.key, %direction, "refused: the connection has no original destination; did something in the pod connect to the proxy's port?");
    }
    ends
}

fn outbound(capture: &Capture, workload: &Workload, stream: &TcpStream) -> Option<Ends> {
    let original = capture.original_destination(stream)?;
    let peer = stream.peer_addr().ok()?;
    // The application's socket is bound to loopback; the address that destinations see is the pod's.
    let ip = workload.address_like(original.addr.ip()).unwrap_or(peer.ip());
    let client = SocketAddr::new(ip, peer.port());
    Some(Ends { target: original.addr, client, may_splice: original.may_splice })
}

fn inbound(workload: &Workload, stream: &TcpStream) -> Option<Ends> {
    let target = canonical(stream.local_addr().ok()?);
    let client = canonical(stream.peer_addr().ok()?);
    workload.ips.contains(&target.ip()).then_some(Ends { target, client, may_splice: false })
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
