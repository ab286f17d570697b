//! Byte streams arrive unchanged, and every kind of end is recognized.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

async fn connected<IO>(near: IO, far: IO) -> (TlsStream<IO>, TlsStream<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    let name = identity("db");
    let (client, server) =
        tokio::join!(connect(&web, &name, name.as_str(), endpoint(80), near), accept(&db, far));
    (client.unwrap(), server.unwrap().0)
}

fn random(n: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; n];
    StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
    bytes
}

/// Writes `bytes` in pieces of random size and then closes this direction.
async fn send(mut to: impl AsyncWrite + Unpin, bytes: &[u8], seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = rng.random_range(1..=200_000).min(rest.len());
        to.write_all(&rest[..n]).await.unwrap();
        rest = &rest[n..];
    }
    to.shutdown().await.unwrap();
}

/// Reads to the end with buffers of random size.
async fn receive(mut from: impl AsyncRead + Unpin, seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut all = Vec::new();
    let mut buffer = vec![0; 100_000];
    loop {
        let size = match rng.random_range(0..3) {
            0 => rng.random_range(1..50),
            1 => rng.random_range(50..20_000),
            _ => buffer.len(),
        };
        match from.read(&mut buffer[..size]).await.unwrap() {
            0 => return all,
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
}

async fn both_ways<IO>(near: IO, far: IO, size: usize)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, server) = connected(near, far).await;
    let (up, down) = (random(size, 1), random(size / 2, 2));
    let (client_read, client_write) = tokio::io::split(client);
    let (server_read, server_write) = tokio::io::split(server);
    let ((), (), at_server, at_client) = tokio::join!(
        send(client_write, &up, 3),
        send(server_write, &down, 4),
        receive(server_read, 5),
        receive(client_read, 6),
    );
    assert!(at_server == up && at_client == down);
}

#[tokio::test]
async fn bulk_over_tcp_is_byte_exact() {
    let (near, far) = tcp().await;
    both_ways(near, far, 24 << 20).await;
}

#[tokio::test]
async fn bulk_over_narrow_pipes_is_byte_exact() {
    for width in [64, 1000, 16_405, 300_000] {
        let (near, far) = tokio::io::duplex(width);
        both_ways(near, far, 700_000).await;
    }
}

/// The request ends before the answer begins, and the other way round.
#[tokio::test]
async fn half_close_in_both_orders() {
    for client_first in [true, false] {
        let (near, far) = tcp().await;
        let (client, server) = connected(near, far).await;
        let (mut first, mut second) = if client_first { (client, server) } else { (server, client) };
        let bytes = random(300_000, 7);
        let (read, ()) = tokio::join!(receive(&mut second, 8), send(&mut first, &bytes, 9));
        assert!(read == bytes);
        // The end is final, but only in this direction.
        assert_eq!(second.read(&mut [0; 10]).await.unwrap(), 0);
        let refused = first.write(b"more").await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
        let (read, ()) = tokio::join!(receive(&mut first, 8), send(&mut second, &bytes, 9));
        assert!(read == bytes);
        // TCP ends after TLS.
        let mut raw = [0; 1];
        assert_eq!(first.get_ref().peek(&mut raw).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_an_error() {
    let (near, far) = tcp().await;
    let (mut client, mut server) = connected(near, far).await;
    server.write_all(b"half an ans").await.unwrap();
    server.flush().await.unwrap();
    drop(server);
    let mut got = Vec::new();
    let error = client.read_to_end(&mut got).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(got, b"half an ans");
}

#[tokio::test]
async fn a_changed_byte_is_an_error_after_the_bytes_before_it() {
    let (near, mut wire_near) = tokio::io::duplex(1 << 20);
    let (mut wire_far, far) = tokio::io::duplex(1 << 20);
    let mut tamper = false;
    let (stop, mut stopped) = tokio::sync::mpsc::channel::<()>(1);
    let wire = tokio::spawn(async move {
        let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
        loop {
            tokio::select! {
                n = wire_near.read(&mut up) => {
                    let n = n.unwrap_or(0);
                    if n == 0 { return }
                    if tamper { up[n - 1] ^= 1 }
                    wire_far.write_all(&up[..n]).await.unwrap();
                }
                n = wire_far.read(&mut down) => {
                    let n = n.unwrap_or(0);
                    if n == 0 { return }
                    if wire_near.write_all(&down[..n]).await.is_err() { return }
                }
                Some(()) = stopped.recv() => tamper = true,
            }
        }
    });
    let (mut client, mut server) = connected(near, far).await;
    exchange(&mut client, &mut server).await;
    stop.send(()).await.unwrap();
    tokio::task::yield_now().await;
    client.write_all(&[1; 20_000]).await.unwrap();
    client.flush().await.unwrap();
    let mut got = Vec::new();
    let error: TlsError = server.read_to_end(&mut got).await.unwrap_err().into();
    assert_eq!(error.reason(), "protocol");
    // The first record was good, the second was not.
    assert_eq!(got, [1; 16_384]);
    let error: TlsError = server.read_u8().await.unwrap_err().into();
    assert_eq!(error.reason(), "protocol", "it stays broken");
    let alert = first_read(&mut client).await;
    assert!(matches!(alert, TlsError::Alert(rustls::AlertDescription::BadRecordMac)), "{alert:?}");
    drop((client, server));
    wire.await.unwrap();
}

#[tokio::test]
async fn records_of_tokio_rustls_are_read() {
    // It sends many small records in one segment, and one record in many segments.
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    let (near, far) = tcp().await;
    let acceptor = tokio_rustls::TlsAcceptor::from(db.server.clone());
    let name = identity("db");
    let (client, server) =
        tokio::join!(connect(&web, &name, name.as_str(), endpoint(80), near), acceptor.accept(far));
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    let bytes = random(400_000, 1);
    let sender = async {
        for piece in bytes.chunks(37) {
            server.write_all(piece).await.unwrap();
        }
        server.shutdown().await.unwrap();
        server
    };
    let (got, mut server) = tokio::join!(receive(&mut client, 3), sender);
    assert!(got == bytes);
    client.write_all(b"after").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "after");
}

#[tokio::test]
async fn key_updates_are_answered() {
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    let (near, far) = tokio::io::duplex(1 << 20);
    let acceptor = tokio_rustls::TlsAcceptor::from(db.server.clone());
    let name = identity("db");
    let (client, server) =
        tokio::join!(connect(&web, &name, name.as_str(), endpoint(80), near), acceptor.accept(far));
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    for round in 0..20_u32 {
        server.get_mut().1.refresh_traffic_keys().unwrap();
        server.write_u32(round).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.read_u32().await.unwrap(), round);
        client.write_u32(round).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(server.read_u32().await.unwrap(), round);
    }
}
