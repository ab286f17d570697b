//! Tests of shared taps. Their source is a channel, so that each step is seen.

use tokio::sync::mpsc;
use weft_api::viz::{Direction, ResourceType, TapEnd, TapEvent, TapEventKind, Tls};

use super::*;

/// Opens taps that say what the test sends.
#[derive(Debug, Default)]
struct Source {
    opened: Mutex<Vec<mpsc::Sender<TapMessage>>>,
}

impl Taps for Source {
    fn open(
        &self,
        _: &str,
        query: TapQuery,
    ) -> BoxFuture<'static, Result<BoxStream<'static, TapMessage>, Failure>> {
        if query.name == "absent" {
            return Box::pin(async { Err(Failure::new(ErrorCode::NotFound, "there is none")) });
        }
        let (sender, receiver) = mpsc::channel(100);
        self.opened.lock().push(sender);
        let stream: BoxStream<'static, TapMessage> = Box::pin(ReceiverStream::new(receiver));
        Box::pin(async move { Ok(stream) })
    }
}

fn query(name: &str) -> TapQuery {
    TapQuery {
        namespace: "demo".into(),
        kind: ResourceType::Deployment,
        name: name.into(),
        to_namespace: None,
        to_type: None,
        to_name: None,
        method: None,
        path: None,
        authority: None,
        scheme: None,
        max_rps: None,
    }
}

fn request(id: &str) -> TapEvent {
    let end = || TapEnd { resource: None, pod: None, address: "10.0.0.1:1".into() };
    let event = TapEventKind::Request {
        source: end(),
        destination: end(),
        tls: Tls::True,
        method: "GET".into(),
        scheme: None,
        authority: String::new(),
        path: "/".into(),
        route: None,
        headers: Vec::new(),
    };
    TapEvent { id: id.into(), at: 0.0, direction: Direction::Inbound, event }
}

fn response(id: &str) -> TapEvent {
    let event = TapEventKind::Response { status: 200, latency_ms: 1.0, headers: Vec::new() };
    TapEvent { event, ..request(id) }
}

fn events(events: Vec<TapEvent>) -> TapMessage {
    TapMessage::Events { events }
}

fn started() -> TapMessage {
    TapMessage::Started { pods: 1, max_rps: 100.0, skipped: Vec::new() }
}

fn setup() -> (Arc<Source>, SharedTaps) {
    let source = Arc::<Source>::default();
    (source.clone(), SharedTaps::new(source))
}

async fn until(is_true: impl Fn() -> bool) {
    let wait = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("this happens");
}

#[tokio::test]
async fn identical_taps_are_one_and_a_late_reader_sees_whole_requests() {
    let (source, taps) = setup();
    let mut first = taps.open("alice", query("web")).await.unwrap();
    let sender = source.opened.lock()[0].clone();
    sender.send(started()).await.unwrap();
    sender.send(events(vec![request("1")])).await.unwrap();
    assert_eq!(first.next().await, Some(started()));
    assert_eq!(first.next().await, Some(events(vec![request("1")])));
    let mut second = taps.open("bob", query("web")).await.unwrap();
    assert_eq!(source.opened.lock().len(), 1);
    assert_eq!(taps.usage(), Usage { taps: 1, readers: 2, refused: 0 });
    sender.send(events(vec![response("1"), request("2")])).await.unwrap();
    assert_eq!(first.next().await, Some(events(vec![response("1"), request("2")])));
    assert_eq!(second.next().await, Some(started()));
    assert_eq!(second.next().await, Some(events(vec![request("2")])));
    // The tap stays for who remains, and ends with the last one.
    drop(first);
    sender.send(events(vec![request("3")])).await.unwrap();
    assert_eq!(second.next().await, Some(events(vec![request("3")])));
    drop(second);
    sender.closed().await;
    until(|| taps.usage().taps == 0).await;
}

#[tokio::test]
async fn other_queries_are_other_taps() {
    let (source, taps) = setup();
    let _first = taps.open("alice", query("web")).await.unwrap();
    let other = TapQuery { path: Some("/a".into()), ..query("web") };
    let _second = taps.open("alice", other).await.unwrap();
    assert_eq!(source.opened.lock().len(), 2);
}

#[tokio::test]
async fn one_user_leaves_taps_to_others_and_each_of_them_to_others_still() {
    let (_source, taps) = setup();
    let mut open = Vec::new();
    for (user, most) in [("alice", 16), ("bob", 8), ("carol", 4)] {
        for number in 0..most {
            open.push(taps.open(user, query(&format!("{user}-{number}"))).await.unwrap());
        }
        let failure = taps.open(user, query("one-more")).await.err().unwrap();
        assert_eq!(failure.code, ErrorCode::TooManyTaps);
        assert!(failure.message.contains(&format!("{user} has {most} taps open")), "{failure}");
        assert!(failure.hint.unwrap().contains("close one"));
    }
    // What somebody taps already costs nothing.
    let shared = taps.open("alice", query("bob-0")).await.unwrap();
    assert_eq!(taps.usage(), Usage { taps: 28, readers: 29, refused: 3 });
    drop((open, shared));
    until(|| taps.usage() == Usage { taps: 0, readers: 0, refused: 3 }).await;
    assert!(taps.open("alice", query("web")).await.is_ok());
}

#[tokio::test]
async fn a_slow_reader_slows_nobody_and_is_told_what_it_lacks() {
    let (source, taps) = setup();
    let mut slow = taps.open("alice", query("web")).await.unwrap();
    let mut quick = taps.open("bob", query("web")).await.unwrap();
    let sender = source.opened.lock()[0].clone();
    sender.send(started()).await.unwrap();
    assert_eq!(quick.next().await, Some(started()));
    for number in 0..40 {
        sender.send(events(vec![request(&number.to_string())])).await.unwrap();
        assert_eq!(quick.next().await, Some(events(vec![request(&number.to_string())])));
    }
    let mut seen = 0;
    let mut lacking = 0;
    while seen + lacking < 40 {
        match slow.next().await {
            Some(TapMessage::Events { events }) => seen += events.len() as u64,
            Some(TapMessage::Dropped { events }) => lacking += events,
            Some(TapMessage::Started { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(lacking > 0 && seen > 0, "{seen} {lacking}");
}

#[tokio::test]
async fn a_tap_that_cannot_be_opened_is_refused_to_all_who_wait_and_leaves_nothing() {
    let (_source, taps) = setup();
    let both = futures::join!(taps.open("alice", query("absent")), taps.open("bob", query("absent")));
    for result in [both.0, both.1] {
        assert_eq!(result.err().unwrap().code, ErrorCode::NotFound);
    }
    assert_eq!(taps.usage().taps, 0);
}

#[tokio::test]
async fn an_error_reaches_all_readers_and_ends_the_tap() {
    let (source, taps) = setup();
    let mut first = taps.open("alice", query("web")).await.unwrap();
    let mut second = taps.open("bob", query("web")).await.unwrap();
    let error = TapMessage::Error { error: Failure::new(ErrorCode::Internal, "broken") };
    let sender = source.opened.lock()[0].clone();
    sender.send(error.clone()).await.unwrap();
    for reader in [&mut first, &mut second] {
        assert_eq!(reader.next().await, Some(error.clone()));
        assert_eq!(reader.next().await, None);
    }
    assert_eq!(taps.usage().taps, 0);
}
