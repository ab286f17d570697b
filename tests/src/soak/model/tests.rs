use super::*;
use crate::soak::testbed::PLACES;

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

/// Whether the model finds fault with it.
fn faulty(model: &Model, connection: Connection) -> bool {
    let before = model.book().wrongs.len();
    model.judge(connection);
    model.book().wrongs.len() > before
}

#[test]
fn failures_need_an_excuse_while_they_are_open() {
    let model = Model::default();
    let reset = || connection("steady-a", "steady-b", failed(io::ErrorKind::ConnectionReset));
    assert!(faulty(&model, reset()));
    model.begins(Site::Node("b"));
    assert!(!faulty(&model, reset()));
    let during = reset();
    model.over(&Site::Node("b"));
    assert!(!faulty(&model, during), "it began before that was over");
    assert!(faulty(&model, reset()));
    model.begins(Site::Pod("mortal-a"));
    model.begins(Site::Wire);
    assert!(!faulty(&model, reset()));
    assert!(faulty(&model, connection("steady-a", "guarded-a", failed(io::ErrorKind::ConnectionReset))));
}

#[test]
fn nothing_excuses_wrong_bytes_and_early_ends() {
    let model = Model::default();
    model.begins(Site::Node("b"));
    model.begins(Site::Pod("steady-b"));
    for kind in [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof] {
        assert!(faulty(&model, connection("steady-a", "steady-b", failed(kind))));
    }
    model.over(&Site::Pod("steady-b"));
    // A killed proxy resets; it leaves nobody waiting.
    assert!(faulty(&model, connection("steady-a", "steady-b", failed(io::ErrorKind::WouldBlock))));
}

#[test]
fn who_must_not_get_in_does_not() {
    let model = Model::default();
    assert!(faulty(&model, connection("stranger", "guarded-b", Ok(1))));
    assert!(!faulty(&model, connection("stranger", "guarded-b", failed(io::ErrorKind::ConnectionReset))));
    assert!(!faulty(&model, connection("steady-a", "ruled-b", Ok(1))));
    model.shut("ruled-b");
    assert!(faulty(&model, connection("steady-a", "ruled-b", Ok(1))));
    let unheard = Connection { answered: false, ..connection("steady-a", "ruled-b", Ok(1)) };
    assert!(!faulty(&model, unheard));
    model.opening("ruled-b");
    assert!(!faulty(&model, connection("steady-a", "ruled-b", Ok(1))));
}

#[test]
fn a_server_that_was_cut_short_has_a_client_that_failed() {
    let model = Model::default();
    model.served(named("steady-b").unwrap(), 7, failed(io::ErrorKind::UnexpectedEof));
    model.served(named("steady-b").unwrap(), 8, failed(io::ErrorKind::UnexpectedEof));
    model.begins(Site::Node("b"));
    model.judge(connection("steady-a", "steady-b", failed(io::ErrorKind::ConnectionReset)));
    assert_eq!(model.wrongs().len(), 1);
}

#[test]
fn only_who_fails_open_is_offered_tls_while_its_proxy_is_away() {
    let model = Model::default();
    let offered = |name| model.served(named(name).unwrap(), 0, failed(io::ErrorKind::Unsupported));
    offered("steady-a");
    assert_eq!(model.wrongs().len(), 1);
    model.begins(Site::Node("a"));
    offered("steady-a");
    assert_eq!(model.wrongs().len(), 1);
    offered("guarded-a");
    offered("steady-b");
    assert_eq!(model.wrongs().len(), 3);
}

#[test]
fn without_control_only_who_is_not_there_yet_is_turned_away() {
    let model = Model::default();
    let after = |from, bytes| {
        let e = load::after_receiving(bytes, io::ErrorKind::ConnectionReset.into());
        faulty(&model, connection(from, "steady-b", Err(e)))
    };
    assert!(after("steady-a", 0));
    model.begins(Site::Control);
    assert!(!after("steady-a", 0));
    assert!(after("steady-a", 1));
    assert!(after("stranger", 0));
    model.over(&Site::Control);
    assert!(after("steady-a", 0));
}

#[test]
fn who_waits_while_the_wire_is_cut_may_miss_an_end_but_nobody_else() {
    let model = Model::default();
    let waits = |from, to| faulty(&model, connection(from, to, failed(io::ErrorKind::WouldBlock)));
    assert!(waits("stranger", "guarded-b"));
    model.begins(Site::Wire);
    assert!(!waits("stranger", "guarded-b"));
    assert!(waits("stranger", "guarded-a"));
    assert!(waits("steady-a", "steady-b"));
    model.begins(Site::Node("b"));
    assert!(!waits("steady-a", "steady-b"));
}

#[test]
fn old_word_is_of_pods_that_change() {
    let model = Model::default();
    let refused = |to| {
        let e = load::after_receiving(0, io::ErrorKind::ConnectionReset.into());
        faulty(&model, connection("steady-a", to, Err(e)))
    };
    let offered = |name| {
        let before = model.book().wrongs.len();
        model.served(named(name).unwrap(), 0, failed(io::ErrorKind::Unsupported));
        model.book().wrongs.len() > before
    };
    assert!(refused("roamer-b") && offered("roamer-b"));
    model.begins(Site::Word);
    model.over_in(&Site::Word, Duration::from_secs(60));
    assert!(!refused("roamer-b") && !offered("roamer-b"));
    assert!(refused("steady-b") && offered("steady-b"));
}
