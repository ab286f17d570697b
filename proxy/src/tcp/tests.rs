use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Count, Leg, Legs, relay as carry, transfer};

#[derive(Default)]
struct Total {
    forward: AtomicUsize,
    backward: AtomicUsize,
}

impl Count for Total {
    fn forward(&self, read: usize, _written: usize) {
        self.forward.fetch_add(read, Ordering::Relaxed);
    }
    fn backward(&self, _read: usize, written: usize) {
        self.backward.fetch_add(written, Ordering::Relaxed);
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
        let result = transfer(&mut source, &mut destination, &total).await;
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
    assert_eq!(result.unwrap_err().leg, Leg::Source);
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
    assert_eq!(task.await.unwrap().0.unwrap_err().leg, Leg::Destination);
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
async fn a_cut_stream_ends_with_a_reset_and_a_complete_one_does_not() {
    for cut in [true, false] {
        let (mut client, source) = pair().await;
        let (destination, mut server) = pair().await;
        [&source, &destination].into_iter().for_each(super::end_by_reset);
        let idle = Duration::ZERO;
        let task = tokio::spawn(carry(source, destination, Legs::default(), idle, std::future::pending()));
        server.write_all(b"half").await.unwrap();
        let mut heard = [0; 4];
        client.read_exact(&mut heard).await.unwrap();
        if cut {
            task.abort();
            let error = client.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        } else {
            server.shutdown().await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(client.read(&mut heard).await.unwrap(), 0);
            assert_eq!(server.read(&mut heard).await.unwrap(), 0);
            task.await.unwrap();
            assert_eq!(client.read(&mut heard).await.unwrap(), 0);
        }
    }
}
