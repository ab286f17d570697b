//! Checks that an exchange finds what a connection loses, adds or breaks.

use std::{net::TcpListener, time::Duration};

use socket2::SockRef;

use super::*;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn both_sides_agree_on_a_clean_connection() {
    for _ in 0..20 {
        let (client, server) = pair();
        thread::scope(|scope| {
            let serving = scope.spawn(|| Plan::serve(&server));
            Plan::random(300_000).run(&client).unwrap();
            serving.join().unwrap().unwrap();
        });
    }
}

#[test]
fn missing_last_bytes_are_found() {
    let (client, server) = pair();
    thread::scope(|scope| {
        scope.spawn(|| write_pattern(&server, (1, 999), 64));
        let e = read_pattern(&client, (1, 1000)).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn an_additional_byte_is_found() {
    let (client, server) = pair();
    thread::scope(|scope| {
        scope.spawn(|| write_pattern(&server, (1, 1001), 64));
        assert_eq!(read_pattern(&client, (1, 1000)).unwrap_err().kind(), io::ErrorKind::InvalidData);
    });
}

/// The error of a client whose peer reads the announcement and then does `peer`.
fn error_after(peer: impl Fn(TcpStream) + Send) -> io::ErrorKind {
    let (client, server) = pair();
    thread::scope(|scope| {
        scope.spawn(move || {
            Plan::announced(&server).unwrap();
            peer(server);
        });
        Plan::new(8 << 20, 1000).run(&client).unwrap_err().kind()
    })
}

#[test]
fn a_reset_is_reported_as_a_reset_and_not_as_an_early_end() {
    for _ in 0..500 {
        let kind = error_after(|server| {
            SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        });
        assert_eq!(kind, io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn an_early_end_is_reported_even_if_a_reset_follows() {
    for _ in 0..500 {
        let kind = error_after(|server| {
            SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(kind, io::ErrorKind::UnexpectedEof);
    }
}
