//! Sessions are resumed, and only as long as they should be.

use super::*;

async fn once(client: &Credential, server: &Credential, at: SocketAddr) -> Result<Peer, TlsError> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = server.identity.clone();
    let (near, far) = tokio::join!(connect(client, &name, name.as_str(), at, near), accept(server, far));
    let (mut far, peer) = far?;
    let mut near = near?;
    assert_eq!(near.resumed(), peer.resumed);
    exchange(&mut near, &mut far).await;
    Ok(peer)
}

#[tokio::test]
async fn the_second_connection_resumes_with_the_same_identity() {
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    assert!(!once(&web, &db, endpoint(80)).await.unwrap().resumed);
    for _ in 0..5 {
        let peer = once(&web, &db, endpoint(80)).await.unwrap();
        assert!(peer.resumed);
        assert_eq!(peer.identity, Some(identity("web")));
        assert_eq!(peer.inner, Some(Inner::Tcp));
    }
    // Another endpoint may be another process, which could not open the ticket.
    assert!(!once(&web, &db, endpoint(81)).await.unwrap().resumed);
    assert!(once(&web, &db, endpoint(81)).await.unwrap().resumed);
    // Sessions of one identity are of no use to another.
    let cache = ca.credential(identity("cache").as_str());
    let peer = once(&cache, &db, endpoint(80)).await.unwrap();
    assert_eq!((peer.resumed, peer.identity), (false, Some(identity("cache"))));
}

#[tokio::test]
async fn an_expired_client_that_resumes_is_refused() {
    let ca = Ca::new("root");
    let db = ca.credential(identity("db").as_str());
    let web = ca.credential_for(identity("web").as_str(), Duration::from_secs(4));
    assert!(!once(&web, &db, endpoint(80)).await.unwrap().resumed);
    assert!(once(&web, &db, endpoint(80)).await.unwrap().resumed);
    tokio::time::sleep(Duration::from_millis(5100)).await;
    let (client, server) = pair(&web, &db, &identity("db")).await;
    assert_eq!(server.unwrap_err().reason(), "expired");
    let mut client = client.unwrap();
    assert!(client.resumed());
    assert_eq!(first_read(&mut client).await.reason(), "closed");
}

#[tokio::test]
async fn an_expired_server_that_resumes_is_refused() {
    let ca = Ca::new("root");
    let db = ca.credential_for(identity("db").as_str(), Duration::from_secs(4));
    let web = ca.credential(identity("web").as_str());
    once(&web, &db, endpoint(80)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5100)).await;
    let (client, _) = pair(&web, &db, &identity("db")).await;
    assert_eq!(client.unwrap_err().reason(), "expired");
}

#[tokio::test]
async fn a_new_credential_begins_without_sessions() {
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    once(&web, &db, endpoint(80)).await.unwrap();
    let renewed = ca.credential(identity("db").as_str());
    assert!(!once(&web, &renewed, endpoint(80)).await.unwrap().resumed, "the server's is new");
    assert!(once(&web, &renewed, endpoint(80)).await.unwrap().resumed);
    let web = ca.credential(identity("web").as_str());
    assert!(!once(&web, &renewed, endpoint(80)).await.unwrap().resumed, "the client's is new");
}

#[tokio::test]
async fn connections_at_the_same_time_resume_too() {
    let ca = Ca::new("root");
    let (web, db) = (ca.credential(identity("web").as_str()), ca.credential(identity("db").as_str()));
    let burst = || futures::future::join_all((0..4).map(|_| once(&web, &db, endpoint(80))));
    burst().await;
    for peer in burst().await {
        assert!(peer.unwrap().resumed);
    }
}
