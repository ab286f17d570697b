//! Notices that a client has reset its connection while its response is awaited.
//!
//! hyper does not read then, because a client that has closed its half may still want the response (RFC 9112, section
//! 9.6). A reset is seen without reading: the kernel reports an error on the socket.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How often to look at a connection that has bytes, or the client's end, to be read: nothing wakes its task then.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Watches one client's connection.
#[derive(Default)]
pub(super) struct ResetWatch {
    pause: Option<Pin<Box<Sleep>>>,
}

impl ResetWatch {
    /// Ready when the client has reset the connection. Otherwise the task is woken to look again.
    pub(super) fn poll(&mut self, connection: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if connection.poll_read_ready(cx).is_pending() {
                // Whatever happens next wakes the task.
                self.pause = None;
                return Poll::Pending;
            }
            if has_failed(connection) {
                return Poll::Ready(());
            }
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(CHECK_INTERVAL)));
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
    }
}

/// Whether the kernel has reported an error. It need not be asked again.
fn has_failed(connection: &TcpStream) -> bool {
    !matches!(connection.ready(Interest::ERROR).now_or_never(), None | Some(Ok(tokio::io::Ready::EMPTY)))
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io};

    use socket2::SockRef;
    use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

    use super::*;

    async fn pair() -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        Ok((client, listener.accept().await?.0))
    }

    async fn notices(server: &TcpStream) -> bool {
        let mut watch = ResetWatch::default();
        timeout(Duration::from_secs(2), poll_fn(|cx| watch.poll(server, cx))).await.is_ok()
    }

    fn reset(client: TcpStream) {
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    }

    #[tokio::test]
    async fn a_reset_is_noticed_whether_there_are_bytes_to_be_read_or_not() {
        let (client, server) = pair().await.unwrap();
        reset(client);
        assert!(notices(&server).await);
        let (mut client, server) = pair().await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        server.readable().await.unwrap();
        reset(client);
        assert!(notices(&server).await);
    }

    #[tokio::test]
    async fn the_end_of_the_clients_half_is_no_reset() {
        let (mut client, server) = pair().await.unwrap();
        client.shutdown().await.unwrap();
        server.readable().await.unwrap();
        assert!(!notices(&server).await);
        reset(client);
        assert!(notices(&server).await);
    }
}
