//! Tests that certificates are replaced when the control plane has another issuer.

use std::{sync::Arc, time::Duration};

use super::{Answer, World, eventually, handshake};
use crate::{
    identity::Lease,
    tls::testing::{Ca, identity},
};

/// Whether the certificate is signed by this issuer.
fn is_signed_by(lease: &Lease, issuer: &Ca) -> bool {
    lease.current().is_some_and(|credential| credential.chain.get(1) == Some(&issuer.der()))
}

#[tokio::test]
async fn certificates_of_an_earlier_issuer_are_replaced_while_both_work() {
    let root = Ca::new("root");
    let (old, new) = (Arc::new(root.intermediate("old")), Arc::new(root.intermediate("new")));
    let world = World::new(&root.pem(), Answer::Chained(old.clone())).await;
    world.issuer.set(old.der().to_vec());
    let (web, db) = (world.store.lease(&identity("web")), world.store.lease(&identity("db")));
    web.usable().await;
    db.usable().await;
    let before = web.current().unwrap();

    world.answer(Answer::Chained(new.clone()));
    world.issuer.set(new.der().to_vec());
    eventually("certificates of the new issuer", || is_signed_by(&web, &new) && is_signed_by(&db, &new))
        .await;
    // A node that has not replaced its certificates yet is understood, in both directions.
    handshake(&before, &db.current().unwrap()).await.unwrap();
    handshake(&db.current().unwrap(), &before).await.unwrap();

    // Named again, by another replica for example, it changes nothing.
    world.issuer.set(new.der().to_vec());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.requests().len(), 4, "each certificate is requested once, and once again");
}

#[tokio::test]
async fn a_replica_with_the_earlier_issuer_is_asked_again_until_it_has_the_new_one() {
    let root = Ca::new("root");
    let (old, new) = (Arc::new(root.intermediate("old")), Arc::new(root.intermediate("new")));
    let world = World::new(&root.pem(), Answer::Chained(old.clone())).await;
    let web = world.store.lease(&identity("web"));
    web.usable().await;
    world.issuer.set(new.der().to_vec());
    eventually("further requests", || world.requests().len() > 3).await;
    assert!(is_signed_by(&web, &old), "a certificate that peers accept stays in use");
    world.answer(Answer::Chained(new.clone()));
    eventually("a certificate of the new issuer", || is_signed_by(&web, &new)).await;
}

#[tokio::test]
async fn a_new_issuer_that_the_anchors_do_not_hold_leaves_the_certificate_in_use() {
    let (root, other) = (Ca::new("root"), Ca::new("other"));
    let (old, new) = (Arc::new(root.intermediate("old")), Arc::new(other.intermediate("new")));
    let world = World::new(&root.pem(), Answer::Chained(old.clone())).await;
    let web = world.store.lease(&identity("web"));
    web.usable().await;
    world.answer(Answer::Chained(new.clone()));
    world.issuer.set(new.der().to_vec());
    eventually("refused answers", || world.requests().len() > 3).await;
    assert!(is_signed_by(&web, &old), "{:?}", web.current());
    std::fs::write(world.file("anchors.pem"), root.pem() + &other.pem()).unwrap();
    eventually("a certificate of the new issuer", || is_signed_by(&web, &new)).await;
}

#[tokio::test]
async fn what_is_no_certificate_is_no_issuer() {
    let root = Ca::new("root");
    let issuer = Arc::new(root.intermediate("issuer"));
    let world = World::new(&root.pem(), Answer::Chained(issuer)).await;
    let web = world.store.lease(&identity("web"));
    web.usable().await;
    world.issuer.set(Vec::new());
    world.issuer.set(vec![0x30; 1 << 20]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.requests().len(), 1);
}
