use super::*;
use crate::soak::ground::PLACES;

fn named(name: &str) -> Option<Place> {
    PLACES.into_iter().find(|place| place.name == name)
}

fn connection(source: &str, destination: &str, result: io::Result<u64>) -> Connection {
    Connection {
        id: 7,
        kind: "test",
        source: named(source).unwrap(),
        destinations: vec![named(destination).unwrap()],
        port: 1,
        begun: Instant::now(),
        answered: true,
        result,
    }
}

fn failed(kind: io::ErrorKind) -> io::Result<u64> {
    Err(kind.into())
}

/// Whether the oracle finds fault with it.
fn faulty(oracle: &Oracle, connection: Connection) -> bool {
    let before = oracle.book().wrongs.len();
    oracle.judge(connection);
    oracle.book().wrongs.len() > before
}

#[test]
fn failures_need_an_excuse_while_they_are_open() {
    let oracle = Oracle::default();
    let reset = || connection("steady-a", "steady-b", failed(io::ErrorKind::ConnectionReset));
    assert!(faulty(&oracle, reset()));
    oracle.begins(Site::Node("b"));
    assert!(!faulty(&oracle, reset()));
    let during = reset();
    oracle.over(&Site::Node("b"));
    assert!(!faulty(&oracle, during), "it began before that was over");
    assert!(faulty(&oracle, reset()));
    oracle.begins(Site::Pod("mortal-a"));
    oracle.begins(Site::Wire);
    assert!(!faulty(&oracle, reset()));
    assert!(faulty(&oracle, connection("steady-a", "guarded-a", failed(io::ErrorKind::ConnectionReset))));
}

#[test]
fn nothing_excuses_wrong_bytes_and_early_ends() {
    let oracle = Oracle::default();
    oracle.begins(Site::Node("b"));
    oracle.begins(Site::Pod("steady-b"));
    for kind in [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof] {
        assert!(faulty(&oracle, connection("steady-a", "steady-b", failed(kind))));
    }
    oracle.over(&Site::Pod("steady-b"));
    // A killed proxy resets; it leaves nobody waiting.
    assert!(faulty(&oracle, connection("steady-a", "steady-b", failed(io::ErrorKind::WouldBlock))));
}

#[test]
fn who_must_not_get_in_does_not() {
    let oracle = Oracle::default();
    assert!(faulty(&oracle, connection("stranger", "guarded-b", Ok(1))));
    assert!(!faulty(&oracle, connection("stranger", "guarded-b", failed(io::ErrorKind::ConnectionReset))));
    assert!(!faulty(&oracle, connection("steady-a", "ruled-b", Ok(1))));
    oracle.shut("ruled-b");
    assert!(faulty(&oracle, connection("steady-a", "ruled-b", Ok(1))));
    let unheard = Connection { answered: false, ..connection("steady-a", "ruled-b", Ok(1)) };
    assert!(!faulty(&oracle, unheard));
    oracle.opening("ruled-b");
    assert!(!faulty(&oracle, connection("steady-a", "ruled-b", Ok(1))));
}

#[test]
fn a_server_that_was_cut_short_has_a_client_that_failed() {
    let oracle = Oracle::default();
    oracle.served(named("steady-b").unwrap(), 7, failed(io::ErrorKind::UnexpectedEof));
    oracle.served(named("steady-b").unwrap(), 8, failed(io::ErrorKind::UnexpectedEof));
    oracle.begins(Site::Node("b"));
    oracle.judge(connection("steady-a", "steady-b", failed(io::ErrorKind::ConnectionReset)));
    assert_eq!(oracle.wrongs().len(), 1);
}

#[test]
fn only_who_fails_open_is_offered_tls_while_its_proxy_is_away() {
    let oracle = Oracle::default();
    let offered = |name| oracle.served(named(name).unwrap(), 0, failed(io::ErrorKind::Unsupported));
    offered("steady-a");
    assert_eq!(oracle.wrongs().len(), 1);
    oracle.begins(Site::Node("a"));
    offered("steady-a");
    assert_eq!(oracle.wrongs().len(), 1);
    offered("guarded-a");
    offered("steady-b");
    assert_eq!(oracle.wrongs().len(), 3);
}

#[test]
fn without_control_only_who_is_not_there_yet_is_turned_away() {
    let oracle = Oracle::default();
    let after = |from, bytes| {
        let e = load::having_heard(bytes, io::ErrorKind::ConnectionReset.into());
        faulty(&oracle, connection(from, "steady-b", Err(e)))
    };
    assert!(after("steady-a", 0));
    oracle.begins(Site::Control);
    assert!(!after("steady-a", 0));
    assert!(after("steady-a", 1));
    assert!(after("stranger", 0));
    oracle.over(&Site::Control);
    assert!(after("steady-a", 0));
}

#[test]
fn who_waits_while_the_wire_is_cut_may_miss_an_end_but_nobody_else() {
    let oracle = Oracle::default();
    let waits = |from, to| faulty(&oracle, connection(from, to, failed(io::ErrorKind::WouldBlock)));
    assert!(waits("stranger", "guarded-b"));
    oracle.begins(Site::Wire);
    assert!(!waits("stranger", "guarded-b"));
    assert!(waits("stranger", "guarded-a"));
    assert!(waits("steady-a", "steady-b"));
    oracle.begins(Site::Node("b"));
    assert!(!waits("steady-a", "steady-b"));
}

#[test]
fn old_word_is_of_pods_that_change() {
    let oracle = Oracle::default();
    let refused = |to| {
        let e = load::having_heard(0, io::ErrorKind::ConnectionReset.into());
        faulty(&oracle, connection("steady-a", to, Err(e)))
    };
    let offered = |name| {
        let before = oracle.book().wrongs.len();
        oracle.served(named(name).unwrap(), 0, failed(io::ErrorKind::Unsupported));
        oracle.book().wrongs.len() > before
    };
    assert!(refused("roamer-b") && offered("roamer-b"));
    oracle.begins(Site::Word);
    oracle.over_in(&Site::Word, Duration::from_secs(60));
    assert!(!refused("roamer-b") && !offered("roamer-b"));
    assert!(refused("steady-b") && offered("steady-b"));
}
