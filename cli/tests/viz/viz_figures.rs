//! Figures, connections, pods.

use serde_json::{Value, json};

use crate::server::{Server, refusal, stderr, stdout};

fn deployment(name: &str, meshed: u32, requests: f64) -> Value {
    let latency = json!({ "p50": 1.0, "p95": 4.0, "p99": 9.5 });
    let http = json!({
        "requests": requests, "failures": requests / 4.0, "successRate": 0.75, "rps": requests / 60.0,
        "latencyMs": latency,
    });
    json!({
        "namespace": "default", "type": "deployment", "name": name, "status": null, "spark": null, "split": null,
        "pods": { "meshed": meshed, "running": 1, "failed": 0 },
        "http": if requests > 0.0 { http } else { Value::Null },
        "tcp": if meshed > 0 {
            json!({ "openConnections": 2.0, "readBytesPerSecond": 1.0, "writeBytesPerSecond": 2.0 })
        } else {
            Value::Null
        },
    })
}

const STAT: &str = "/api/tps-reports";

#[test]
fn stat_prints_the_deployments_of_the_mesh() {
    let server = Server::start();
    server.answer(STAT, [deployment("web", 1, 60.0), deployment("old", 0, 0.0)]);
    let output = server.viz(&["stat", "deploy"]);
    assert_eq!(
        stdout(&output),
        "\
NAME   MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
web       1/1    75.00%   1.0rps           1ms           4ms          10ms          2
"
    );
    assert_eq!(stderr(&output), "");
    let all = stdout(&server.viz(&["stat", "deploy", "--unmeshed"]));
    assert!(all.lines().nth(1).unwrap().starts_with("old       0/1         -        -"), "{all}");
    assert_eq!(server.requests()[0], "/api/tps-reports?window=1m&type=deployment&namespace=default");
}

#[test]
fn options_become_parameters() {
    let server = Server::start();
    server.answer(STAT, [deployment("web", 1, 60.0)]);
    stdout(&server.viz(&[
        "stat",
        "deploy/web",
        "-n",
        "shop",
        "-t",
        "10m",
        "--to",
        "svc/db",
        "--to-namespace",
        "data",
    ]));
    stdout(&server.viz(&["stat", "ns", "--from", "deploy/web", "-n", "shop"]));
    stdout(&server.viz(&["stat", "po", "-A", "-o", "json"]));
    assert_eq!(
        server.requests(),
        [
            "/api/tps-reports?window=10m&type=deployment&namespace=shop&name=web&to_namespace=data&to_type=service&to_name=db",
            "/api/tps-reports?window=1m&type=namespace&from_namespace=shop&from_type=deployment&from_name=web",
            "/api/tps-reports?window=1m&type=pod",
        ]
    );
}

#[test]
fn ranges_of_time_are_those_that_one_writes() {
    let server = Server::start();
    server.answer(STAT, [deployment("web", 1, 60.0)]);
    for (written, asked) in [("30s", "30s"), ("5m", "5m"), ("90m", "1h30m"), ("24h", "1d")] {
        stdout(&server.viz(&["stat", "po", "-A", "-t", written]));
        let expected = format!("/api/tps-reports?window={asked}&type=pod");
        assert_eq!(server.requests().last(), Some(&expected));
    }
    let refused = server.viz(&["stat", "po", "-t", "5s"]);
    assert!(
        !refused.status.success() && stderr(&refused).contains("use at least 30s"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn weft_viz_is_asked_at_an_address_without_a_cluster() {
    let server = Server::start();
    server.answer(STAT, [deployment("web", 1, 60.0)]);
    assert!(stdout(&server.direct(&["stat", "deploy"])).contains("\nweb "));
    let text = refusal(&server.direct(&["tap", "deploy/web"]));
    assert!(
        text.contains("live calls are not at --api-addr") && text.contains("leave the option out"),
        "{text}"
    );
    let text = refusal(&server.direct(&["check"]));
    assert!(text.contains("leave out --api-addr"), "{text}");
    let both = server.viz(&["stat", "deploy", "--api-addr", "localhost:80"]);
    assert!(stderr(&both).contains("leave one out"), "{}", stderr(&both));
}

#[test]
fn labels_choose_resources() {
    let server = Server::start();
    server.answer(STAT, [deployment("web", 1, 60.0)]);
    assert!(stdout(&server.viz(&["stat", "deploy", "-l", "app=web"])).contains("\nweb "));
    server.answer(STAT, json!([]));
    let text = stderr(&server.viz(&["stat", "deploy", "-l", "app=db"]));
    assert!(text.contains("None of the deployments has the labels"), "{text}");
    let requests = server.requests();
    let asked = requests.last().unwrap();
    assert!(asked.contains("selector=app%3Ddb") || asked.contains("selector=app=db"), "{asked}");
}

#[test]
fn an_empty_table_has_a_reason() {
    let server = Server::start();
    server.answer(
        "/api/resources",
        json!([{ "namespace": "shop", "type": "pod", "name": "a", "meshed": true }]),
    );
    let why = |rows: Value, words: &[&str]| {
        server.answer(STAT, rows);
        let output = server.viz(words);
        assert!(output.status.success());
        stderr(&output)
    };
    let text = why(json!([]), &["stat", "sts", "-n", "shop"]);
    assert!(text.contains("There are no statefulsets in the namespace shop"), "{text}");
    let text = why(json!([]), &["stat", "sts", "-n", "shpo"]);
    assert!(text.contains("The namespace shpo is empty, or does not exist"), "{text}");
    let pod = |proxy: Value| {
        json!([{
            "namespace": "default", "name": "old-1", "owner": null, "node": "a", "phase": "Running", "ready": true,
            "startedAt": null, "meshed": false, "proxy": proxy, "tap": "not_meshed", "http": null, "tcp": null,
        }])
    };
    server.answer("/api/pods", pod(json!({ "state": "refused", "reason": "hostNetwork" })));
    let text = why(json!([deployment("old", 0, 0.0)]), &["stat", "deploy"]);
    assert!(text.contains("annotated for it, and not served (hostNetwork)"), "{text}");
    server.answer("/api/pods", pod(Value::Null));
    let text = why(json!([deployment("old", 0, 0.0)]), &["stat", "deploy"]);
    assert!(
        text.contains("none is in the mesh")
            && text.contains("linkerd.io/inject")
            && text.contains("--unmeshed"),
        "{text}"
    );
    let mut idle = deployment("web", 1, 0.0);
    idle["tcp"] = Value::Null;
    let text = why(json!([idle]), &["stat", "deploy"]);
    assert!(text.contains("No traffic in the last 1m") && text.contains("-t 1h"), "{text}");
}

#[test]
fn without_prometheus_the_range_of_time_is_the_minute_that_was_read() {
    let server = Server::start();
    let mut idle = deployment("web", 1, 0.0);
    idle["tcp"] = Value::Null;
    server.answer_with(STAT, json!([idle]), "proxies", &[]);
    let text = stderr(&server.viz(&["stat", "deploy", "-t", "1h"]));
    assert!(text.contains("No traffic in the last 1m."), "{text}");
}

#[test]
fn no_traffic_between_two_resources_is_no_lack_of_resources() {
    let server = Server::start();
    server.answer(STAT, json!([]));
    let text = stderr(&server.viz(&["stat", "deploy", "--to", "svc/web-svc"]));
    assert!(text.contains("No traffic to svc/web-svc in the last 1m."), "{text}");
}

#[test]
fn problems_are_listed_and_are_no_failure_of_the_command() {
    let server = Server::start();
    let none = json!([]);
    let overview = |problems: Value| {
        let series = json!({ "from": 0.0, "step": 10.0, "successRate": none, "rps": none, "p50": none, "p95": none, "p99": none });
        let http = json!({ "requests": 0.0, "failures": 0.0, "successRate": null, "rps": 0.0,
                           "latencyMs": { "p50": null, "p95": null, "p99": null } });
        json!({
            "totals": {
                "namespaces": 1, "nodes": { "total": 1, "withProxy": 1 }, "pods": { "meshed": 1, "running": 1, "failed": 0 },
                "http": http, "secured": { "connections": 0.0, "total": 0.0, "plaintextFromOutside": 0.0 },
            },
            "series": series, "problems": problems,
        })
    };
    server.answer("/api/overview", overview(json!([])));
    let output = server.viz(&["problems"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("", Some(0)));
    assert!(stderr(&output).contains("No problems were found."));
    let problem = json!({
        "id": "node-without-proxy:n2", "severity": "critical", "since": null, "summary": "Node n2 has no proxy, but 3 meshed pods.",
        "kind": "node-without-proxy", "node": "n2", "meshedPods": 3, "lastSeenAt": null,
    });
    server.answer("/api/overview", overview(json!([problem])));
    let output = server.viz(&["problems"]);
    assert_eq!(
        stdout(&output),
        "SEVERITY   SINCE   PROBLEM\ncritical   -       Node n2 has no proxy, but 3 meshed pods.\n"
    );
    assert_eq!(output.status.code(), Some(0));
    let printed: Value = serde_json::from_str(&stdout(&server.viz(&["problems", "-o", "json"]))).unwrap();
    let expected = json!([{
        "id": "node-without-proxy:n2", "severity": "critical", "since": null, "summary": problem["summary"],
        "kind": "node-without-proxy", "node": "n2", "meshed_pods": 3, "last_seen_at": null,
    }]);
    assert_eq!(printed, expected);
    let output = server.viz(&["problems", "-n", "vault"]);
    assert_eq!(stdout(&output), "", "a node is in no namespace");
    assert!(stderr(&output).contains("No problems were found in the namespace vault"), "{}", stderr(&output));
}

#[test]
fn what_a_deployment_sent_is_shown_by_service_and_backend() {
    let server = Server::start();
    let end = |kind: &str, name: &str| json!({ "namespace": "default", "type": kind, "name": name });
    let row = deployment("db", 1, 60.0);
    server.answer(
        "/api/outbound",
        json!([{
            "service": end("service", "db-svc"), "backend": end("deployment", "db"), "http": row["http"],
            "tcp": row["tcp"],
        }]),
    );
    let text = stdout(&server.viz(&["stat-outbound", "deploy/web"]));
    assert!(text.contains("\nweb    svc/db-svc   [DEFAULT]   -      deploy/db    75.00%"), "{text}");
    let output = server.viz(&["stat-outbound", "svc/web-svc"]);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("Services send nothing"), "{}", stderr(&output));
}

#[test]
fn what_an_answer_lacks_is_said_beside_it() {
    let server = Server::start();
    server.answer_with(
        STAT,
        [deployment("web", 1, 60.0)],
        "proxies",
        &["the proxy of node n2 is not scraped"],
    );
    let output = server.viz(&["stat", "deploy"]);
    assert!(stdout(&output).contains("web"));
    let text = stderr(&output);
    assert!(
        text.contains("Prometheus is not installed") && text.contains("warning: the proxy of node n2"),
        "{text}"
    );
}

#[test]
fn an_error_of_the_api_has_its_hint() {
    let server = Server::start();
    server.refuse(STAT, 503, "prometheus_unavailable", "Prometheus does not answer.", "Does its pod run?");
    let text = refusal(&server.viz(&["stat", "deploy"]));
    assert!(text.contains("Prometheus does not answer. Does its pod run?"), "{text}");
}

#[test]
fn what_is_not_found_in_the_default_namespace_may_be_in_another() {
    let server = Server::start();
    let says = "deployment web does not exist in namespace default.";
    server.refuse(STAT, 404, "not_found", says, "Its name may be misspelt.");
    let text = refusal(&server.viz(&["stat", "deploy/web"]));
    assert!(text.contains("Its name may be misspelt. default is the default namespace"), "{text}");
    assert!(text.contains("choose another with -n"), "{text}");
    let text = refusal(&server.viz(&["stat", "deploy/web", "-n", "default"]));
    assert!(!text.contains("choose another"), "{text}");
}

#[test]
fn an_answer_of_another_version_is_an_error() {
    let server = Server::start();
    server.answer(STAT, "what");
    let text = refusal(&server.viz(&["stat", "deploy"]));
    assert!(text.contains("different versions"), "{text}");
}

#[test]
fn edges_and_pods_are_listed() {
    let server = Server::start();
    let end = |name: &str| json!({ "namespace": "default", "type": "deployment", "name": name });
    server.answer(
        "/api/edges",
        json!([{
            "source": end("web"), "destination": end("db"), "sourceLabel": null, "destinationLabel": null,
            "clientId": "web.default.serviceaccount.identity.weft.cluster.local", "serverId": null,
            "secured": { "state": "plaintext", "reason": "port_skipped" }, "openConnections": 1.0,
        }]),
    );
    let text = stdout(&server.viz(&["edges", "deploy"]));
    assert_eq!(
        text,
        "SRC   DST   SRC_NS    DST_NS    SECURED\nweb   db    default   default   port_skipped\n"
    );
    server.answer(
        "/api/pods",
        json!([{
            "namespace": "default", "name": "web-1", "owner": null, "node": "a", "phase": "Running", "ready": true,
            "startedAt": null, "meshed": true, "proxy": { "state": "served", "reason": null }, "tap": "disabled",
            "http": null, "tcp": null,
        }]),
    );
    let text = stdout(&server.viz(&["list"]));
    assert!(
        text.contains("Pods that cannot be tapped:\n\t* default/web-1: viz.linkerd.io/disable-tap"),
        "{text}"
    );
}

#[test]
fn a_dev_vm_that_does_not_run_is_named() {
    let server = Server::start();
    let gone = server.command(&["stat", "deploy"]);
    let path = server.context().display().to_string();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut context: Value = serde_json::from_str(&text).unwrap();
    context["webUrl"] = json!("http://127.0.0.1:1");
    std::fs::write(&path, context.to_string()).unwrap();
    let mut gone = gone;
    let text = refusal(&gone.output().unwrap());
    assert!(
        text.contains("the dev VM test does not answer at 127.0.0.1:1") && text.contains("cargo xtask run"),
        "{text}"
    );
}

#[test]
fn the_dashboard_of_a_dev_vm_is_at_its_own_address() {
    let server = Server::start();
    server.answer(
        "/api/version",
        json!({
            "version": "0", "clusterDomain": "cluster.local", "controlPlaneNamespace": "weft", "vizNamespace": "weft-viz",
            "source": "manifests", "prometheus": { "available": true, "retentionSeconds": null }, "grafana": null,
            "cli": ["weft", "viz"],
        }),
    );
    let text = stdout(&server.viz(&["dashboard", "--show", "url"]));
    assert!(text.starts_with("weft's dashboard is available at:\nhttp://127.0.0.1:"), "{text}");
    let text = refusal(&server.viz(&["dashboard", "--show", "grafana"]));
    assert!(text.contains("grafana.externalUrl"), "{text}");
}

#[test]
fn mistakes_in_the_command_line_are_told_before_anything_is_asked() {
    let server = Server::start();
    for (words, says) in [
        (&["stat", "deplyo"][..], "no type of resource"),
        (&["edges", "svc"], "name one service"),
        (&["edges", "srv"], "`weft viz stat srv` has figures of policies"),
        (&["authz", "server"], "`weft viz authz` those of one resource, such as deploy/web"),
        (&["tap", "all"], "name a type of resources"),
        (&["top", "deploy/web", "--to", "nothing/web"], "no type of resource"),
    ] {
        let text = refusal(&server.viz(words));
        assert!(text.contains(says), "{text}");
    }
    for (words, says) in [
        (&["stat", "deploy", "-t", "5x"][..], "write it as 90s, 10m, 6h or 1h30m"),
        (&["tap", "deploy", "--scheme", "ftp"], "possible values: http, https"),
        (&["tap", "deploy", "--path", "api/vote"], "write /api/vote"),
        (&["dashboard", "-p", "abc"], "write a number between 0 and 65535"),
    ] {
        let output = server.viz(words);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
    assert_eq!(server.requests(), [] as [&str; 0]);
}
