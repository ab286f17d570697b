//! Connects to a workload's own application.

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

use crate::{
    capture::Capture,
    net::{self, ConnectFailure},
    workload::Workload,
};

/// Connects to the application of `workload`, which sees `client` as its peer. With `splice` the connection may be
/// spliced.
///
/// # Errors
/// The application does not accept the connection within the workload's inbound connect timeout.
pub async fn connect_application(
    capture: &Capture,
    workload: &Workload,
    target: SocketAddr,
    client: SocketAddr,
    splice: bool,
) -> Result<TcpStream, ConnectFailure> {
    let socket = workload.sockets.take(target.is_ipv6()).await?;
    // An IPv4 socket cannot show an IPv6 client, nor the reverse: it shows the pod's own address then.
    if client.is_ipv6() == target.is_ipv6() {
        capture.stand_for(&socket, client, splice).map_err(io::Error::other)?;
    }
    let result = net::connect(socket, target, workload.config().inbound_connect_timeout).await;
    if result.is_err() {
        // The kernel's list names a listener that is not there.
        workload.rescan.notify_one();
    }
    result
}
