//! TLS streams run over one TCP connection.

use tokio::net::TcpStream;

use super::TlsStream;
use crate::net::OverTcp;

impl<IO: OverTcp> OverTcp for TlsStream<IO> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().tcp()
    }
}
