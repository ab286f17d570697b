//! Checks that as many requests are made as wanted, and that failures are counted.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::Result;

use super::{
    super::{Done, Load},
    *,
};
use crate::bench::samples::Samples;

const DURATION: Duration = Duration::from_millis(50);

/// The address of an HTTP/2 server.
fn server() -> (SocketAddr, Http2Server) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let address = listener.local_addr().expect("address");
    (address, Http2Server::start(vec![listener]).expect("server"))
}

fn run(is_grpc: bool, pace: Pace) -> (Done, usize) {
    let (address, _server) = server();
    let mut load = Http2::start(address, is_grpc, 2, pace).expect("connections");
    let mut samples = Samples::default();
    (load.run(DURATION, &mut samples).expect("answers"), samples.len())
}

#[test]
fn as_many_requests_are_made_as_the_rate_says() {
    for is_grpc in [false, true] {
        let (done, samples) = run(is_grpc, Pace::Rate(1000));
        assert_eq!((done.operations, samples), (50, 50), "gRPC: {is_grpc}");
        assert!(done.elapsed >= Duration::from_millis(49));
    }
}

#[test]
fn without_a_rate_every_stream_is_answered() {
    for is_grpc in [false, true] {
        let (done, samples) = run(is_grpc, Pace::Streams(4));
        assert!(done.operations >= 8 && done.operations == samples as u64, "{done:?}");
        assert!(done.elapsed >= DURATION);
    }
}

#[test]
fn a_server_that_ends_makes_requests_fail() {
    let (address, server) = server();
    let mut load = Http2::start(address, false, 1, Pace::Streams(1)).expect("connection");
    drop(server);
    let failed: Result<Done> = load.run(DURATION, &mut Samples::default());
    assert!(failed.is_err());
}
