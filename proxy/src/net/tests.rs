//! Checks that relayed bytes arrive, and how connections end.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Observer, Peer, Prefixed, copy};

#[derive(Default)]
struct Total {
    forward: AtomicUsize,
    backward: AtomicUsize,
}

impl Observer for Total {
    fn read(&self, from: Peer, bytes: usize) {
        if from == Peer::Src {
            self.forward.fetch_add(bytes, Ordering::Relaxed);
        }
    }
    fn written(&self, from: Peer, bytes: usize) {
        if from == Peer::Dst {
            self.backward.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// client <-> (source | destination) <-> server
async fn relay() -> (TcpStream, TcpStream, tokio::task::JoinHandle<(Result<(), super::Broken>, Total)>) {
    let (client, mut source) = pair().await;
    let (mut destination, server) = pair().await;
    let task = tokio::spawn(async move {
        let total = Total::default();
        let result = copy(&mut source, &mut destination, &total).await;
        if result.is_err() {
            super::reset(source);
            super::reset(destination);
        }
        (result, total)
    });
    (client, server, task)
}

#[tokio::test]
async fn bytes_and_half_closes_arrive() {
    let (mut client, mut server, task) = relay().await;
    let question: Vec<u8> = (0..3_000_000u32).map(|i| i as u8).collect();
    let asked = question.clone();
    let ask = tokio::spawn(async move {
        client.write_all(&asked).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, question);
    server.write_all(b"after your end").await.unwrap();
    drop(server);
    assert_eq!(ask.await.unwrap(), b"after your end");
    let (result, total) = task.await.unwrap();
    result.unwrap();
    assert_eq!(total.forward.into_inner(), question.len());
    assert_eq!(total.backward.into_inner(), 14);
}

#[tokio::test]
async fn a_reset_names_its_leg_and_reaches_the_other_side() {
    let (client, mut server, task) = relay().await;
    super::reset(client);
    let (result, _) = task.await.unwrap();
    assert_eq!(result.unwrap_err().peer, Peer::Src);
    let error = server.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_the_writer() {
    let (mut client, server, task) = relay().await;
    let chunk = vec![7; 1 << 20];
    let mut sent = 0usize;
    while let Ok(result) = tokio::time::timeout(Duration::from_millis(500), client.write(&chunk)).await {
        sent += result.unwrap();
        assert!(sent < 64 << 20, "nothing pushes back");
    }
    drop(server);
    let mut rest = [0; 1];
    assert!(client.read(&mut rest).await.is_err());
    assert_eq!(task.await.unwrap().0.unwrap_err().peer, Peer::Dst);
}

#[tokio::test]
async fn last_words_are_delivered_before_the_reset() {
    let (mut client, mut server, task) = relay().await;
    server.write_all(b"bye").await.unwrap();
    super::reset(server);
    // A write that fails must not swallow what the server had said.
    let _ = client.write_all(&[0; 1000]).await;
    let mut heard = [0; 3];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"bye");
    assert!(task.await.unwrap().0.is_err());
}

#[tokio::test]
async fn prefixed_replays_then_continues() {
    let (mut far, near) = tokio::io::duplex(64);
    far.write_all(b" world").await.unwrap();
    far.shutdown().await.unwrap();
    let mut stream = Prefixed::new(Bytes::from_static(b"hello"), near);
    let mut two = [0; 2];
    stream.read_exact(&mut two).await.unwrap();
    let (rest, near) = stream.into_parts();
    assert_eq!((&two[..], &rest[..]), (&b"he"[..], &b"llo"[..]));
    let mut all = String::new();
    Prefixed::new(rest, near).read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "llo world");
}
