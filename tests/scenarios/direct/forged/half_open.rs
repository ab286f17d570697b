//! A connection whose handshake cannot finish because the answers do not arrive.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use socket2::{Domain, Socket, Type};
use weft_tests::{dial, mesh::Pod, wait};

use super::bind_to;

/// The kernel repeats a SYN after 1, 3 and 7 seconds.
const SYN_RETRIES: Duration = Duration::from_secs(10);

pub(super) struct HalfOpen(Socket);

impl HalfOpen {
    /// Sends the SYN, from the victim's port.
    pub(super) fn start(client: &Pod, target: SocketAddr) -> Result<Self> {
        let socket = client.netns().run(|| -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            bind_to(client.v4)(&socket)?;
            socket.set_nonblocking(true)?;
            match socket.connect(&target.into()) {
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
                other => Err(io::Error::other(format!("connect() did not wait: {other:?}"))),
            }
        })??;
        Ok(Self(socket))
    }

    /// Fails if the handshake has finished or failed.
    pub(super) fn expect_half_open(&self) -> Result<()> {
        // getpeername() fails with ENOTCONN as long as the socket is in SYN_SENT.
        let peer = self.0.peer_addr();
        ensure!(peer.is_err(), "the handshake has finished, although no answer should have arrived");
        let error = self.0.take_error()?;
        ensure!(error.is_none(), "the handshake has failed: {error:?}");
        Ok(())
    }

    /// Waits until a repeated SYN has led to a connection.
    pub(super) fn connected(self) -> Result<TcpStream> {
        wait::until("the client is connected", || {
            self.0.peer_addr().is_ok() && self.0.take_error().is_ok_and(|error| error.is_none())
        })?;
        self.0.set_nonblocking(false)?;
        Ok(dial::with_timeouts(self.0.into())?)
    }

    /// Waits until a repeated SYN was answered, and fails if the application answers.
    pub(super) fn expect_refusal(self) -> Result<()> {
        wait::until_for(SYN_RETRIES, "the handshake ends", || {
            self.0.peer_addr().is_ok() || !self.0.take_error().is_ok_and(|error| error.is_none())
        })?;
        self.0.set_nonblocking(false)?;
        let mut stream = dial::with_timeouts(self.0.into())?;
        let answer = stream.write_all(b"let me in").and_then(|()| stream.read(&mut [0; 9]));
        ensure!(!matches!(answer, Ok(1..)), "the application answered: {answer:?}");
        Ok(())
    }
}
