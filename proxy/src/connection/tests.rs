//! Checks how a forwarded stream ends.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::forward::{Session, forward};
use crate::{
    metrics::{ConnectionRecord, Metered, Metrics, Tls, TransportLabels, WorkloadLabels, reason},
    net::{Direction, Peer, end_by_reset},
};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

fn metered(stream: TcpStream, peer: Peer) -> Metered<TcpStream> {
    let labels = TransportLabels {
        direction: Direction::Outbound,
        peer,
        workload: Arc::new(WorkloadLabels::new("demo", "client", &BTreeMap::new())),
        tls: Tls::NoIdentity(reason::LOOPBACK),
        target: stream.local_addr().unwrap(),
        server: None,
        destination: None,
    };
    let counter = Metrics::new(&[]).transport(&labels).open();
    Metered::new(stream, ConnectionRecord::new(counter))
}

#[tokio::test]
async fn a_cut_stream_ends_with_a_reset_and_a_complete_one_does_not() {
    for cut in [true, false] {
        let (mut client, source) = pair().await;
        let (destination, mut server) = pair().await;
        [&source, &destination].into_iter().for_each(end_by_reset);
        let session = Session::new(Duration::ZERO);
        let (source, destination) = (metered(source, Peer::Src), metered(destination, Peer::Dst));
        let task = tokio::spawn(forward(source, destination, session, std::future::pending()));
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
