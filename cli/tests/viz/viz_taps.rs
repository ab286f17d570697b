//! Calls while they happen.

use std::{
    io::{BufRead, BufReader, Read},
    process::Command,
};

use serde_json::{Value, json};

use crate::server::{Server, refusal, stderr};

fn started() -> Value {
    json!({
        "type": "started", "pods": 1, "maxRps": 100.0,
        "skipped": [{ "pod": "default/quiet", "reason": "it has opted out" }],
    })
}

/// A call that succeeds.
fn call(id: &str, path: &str) -> Value {
    let end = |name: &str, address: &str| {
        json!({
            "resource": { "namespace": "default", "type": "deployment", "name": name }, "pod": format!("{name}-1"),
            "address": address,
        })
    };
    let event = |kind: Value| {
        let mut event = json!({ "id": id, "at": 1.0, "direction": "inbound" });
        event.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        event
    };
    json!({ "type": "events", "events": [
        event(json!({
            "event": "request", "source": end("bot", "10.0.0.1:999"), "destination": end("web", "10.0.0.2:80"),
            "tls": "true", "method": "GET", "scheme": "http", "authority": "web", "path": path, "headers": [],
        })),
        event(json!({ "event": "response", "status": 200, "latencyMs": 1.5, "headers": [] })),
        event(json!({
            "event": "end", "durationMs": 2.0, "responseBytes": 7, "grpcStatus": null, "reset": null,
        })),
    ]})
}

fn denied() -> Value {
    json!({ "type": "error", "error": { "code": "forbidden", "message": "That is all.", "hint": null } })
}

#[test]
fn a_tap_prints_calls_and_says_what_is_missing() {
    let server = Server::start();
    server.tap(vec![started(), call("0:1", "/a"), json!({ "type": "dropped", "events": 3 }), denied()]);
    let output = server.viz(&["tap", "deploy/web", "--path", "/a", "--max-rps", "5"]);
    let text = refusal(&output);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "\
req id=0:1 proxy=in src=10.0.0.1:999 dst=10.0.0.2:80 tls=true :method=GET :authority=web :path=/a
rsp id=0:1 proxy=in src=10.0.0.1:999 dst=10.0.0.2:80 tls=true :status=200 latency=1.5ms
end id=0:1 proxy=in src=10.0.0.1:999 dst=10.0.0.2:80 tls=true duration=2ms response-length=7B
"
    );
    assert!(text.contains("default/quiet is not tapped: it has opted out"), "{text}");
    assert!(text.contains("3 events are missing") && text.contains("That is all"), "{text}");
    assert_eq!(
        server.requests(),
        [
            "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/default/deployments/web/tap?namespace=default&type=deployment\
             &name=web&path=%2Fa&max_rps=5 bearer a-token"
        ]
    );
    assert!(!text.contains("a-token"), "the token is a secret");
}

#[test]
fn a_template_takes_parts_of_each_event() {
    let server = Server::start();
    server.tap(vec![started(), call("0:1", "/a"), denied()]);
    let template = "jsonpath={.source.ip} {.requestInitEvent.path}{.responseInitEvent.httpStatus}";
    let output = server.viz(&["tap", "deploy/web", "-o", template]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "10.0.0.1 /a\n10.0.0.1 200\n10.0.0.1 \n");
    for (format, says) in
        [("jsonpath", "a template is missing"), ("xml", "write table, wide, json or jsonpath")]
    {
        let output = server.viz(&["tap", "deploy/web", "-o", format]);
        assert!(!output.status.success() && stderr(&output).contains(says), "{}", stderr(&output));
    }
}

#[test]
fn a_tap_that_breaks_off_is_opened_again() {
    let server = Server::start();
    server.tap(vec![started(), call("1", "/before")]);
    server.tap(vec![started(), call("1", "/after"), denied()]);
    let output = server.viz(&["tap", "deploy/web", "-o", "json"]);
    assert!(stderr(&output).contains("The tap was interrupted (the server closed it); connecting again"));
    let text = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let paths: Vec<_> =
        objects.iter().filter_map(|object| object["requestInitEvent"]["path"].as_str()).collect();
    assert_eq!(paths, ["/before", "/after"]);
}

#[test]
fn a_tap_that_is_not_allowed_says_so_at_once() {
    let server = Server::start();
    let text = refusal(&server.viz(&["tap", "deploy/web"]));
    assert!(text.contains("No more taps"), "{text}");
    assert_eq!(server.requests().len(), 1, "the same question has the same answer");
}

#[test]
fn all_resources_of_a_type_are_tapped_and_share_the_limit() {
    let server = Server::start();
    let item = |kind: &str, name: &str| json!({ "namespace": "default", "type": kind, "name": name, "meshed": true });
    server.answer("/api/resources", [item("deployment", "a"), item("deployment", "b"), item("pod", "c")]);
    server.tap(vec![started(), call("1", "/x"), denied()]);
    server.tap(vec![started(), call("1", "/x"), denied()]);
    let output = server.viz(&["tap", "deploy"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("id=0:1 ") && text.contains("id=1:1 "), "{text}");
    let taps: Vec<_> = server.requests().into_iter().filter(|request| request.starts_with("/apis")).collect();
    assert!(taps.len() == 2 && taps.iter().all(|tap| tap.contains("max_rps=50 ")), "{taps:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let server = Server::start();
    server.tap((0..2000).map(|n| if n == 0 { started() } else { call("1", "/x") }).collect());
    let mut child = server.command(&["tap", "deploy/web"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("req "));
    drop(lines);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    assert!(!errors.contains("error"), "{errors}");
}

#[test]
fn control_c_ends_a_tap_cleanly() {
    let server = Server::start();
    // It is interrupted while it waits to connect again.
    server.tap(vec![started(), call("1", "/x")]);
    let mut child = server.command(&["tap", "deploy/web"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("req "));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_of_both_outputs_that_goes_away_is_no_error() {
    let server = Server::start();
    let dropped = json!({ "type": "dropped", "events": 1 });
    server.tap((0..2000).map(|n| if n % 2 == 0 { dropped.clone() } else { call("1", "/x") }).collect());
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = server.command(&["tap", "deploy/web"]);
    let mut child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    drop(command);
    let mut first = String::new();
    BufReader::new(reader).read_line(&mut first).unwrap();
    assert!(!first.is_empty());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
