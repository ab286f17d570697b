//! Rows and proofs of given metrics.

use super::*;
use crate::prom::parse;

fn pods() -> Pods {
    let pod = |node: &str, ip: &str, account: &str| PodInfo {
        node: node.to_owned(),
        ips: vec![ip.parse().unwrap()],
        service_account: account.to_owned(),
        deployment: None,
    };
    BTreeMap::from([
        ("demo/client".to_owned(), pod("a", "10.244.1.2", "client")),
        ("demo/web-a".to_owned(), pod("a", "10.244.1.3", "web")),
        ("demo/web-b".to_owned(), pod("b", "10.244.2.2", "web")),
        ("demo/plain".to_owned(), pod("b", "10.244.2.3", "default")),
    ])
}

const ID: &str = "serviceaccount.identity.linkerd.cluster.local";

fn pages() -> Vec<NodePage> {
    let outbound = r#"direction="outbound",peer="dst",namespace="demo",pod="client",dst_namespace="demo",dst_service="web""#;
    let cross = format!(r#"{outbound},dst_pod="web-b",tls="true",server_id="web.demo.{ID}""#);
    let local = format!(r#"{outbound},dst_pod="web-a",tls="local",server_id="web.demo.{ID}""#);
    let plain = r#"direction="outbound",peer="dst",namespace="demo",pod="client",target_addr="192.0.2.1:80",target_ip="192.0.2.1",tls="no_identity",no_tls_reason="not_provided_by_service_discovery""#;
    let a = format!(
        "tcp_open_total{{{cross},target_addr=\"10.244.2.2:9090\"}} 3\n\
         tcp_open_total{{{cross},target_addr=\"[fd00::1]:9090\"}} 1\n\
         tcp_open_connections{{{cross}}} 2\n\
         tcp_write_bytes_total{{{cross}}} 1000000\n\
         tcp_read_bytes_total{{{cross}}} 2000000\n\
         tcp_write_bytes_total{{{local}}} 500\n\
         tcp_open_total{{{plain}}} 1\n\
         weft_tcp_rtt_seconds_sum{{direction=\"outbound\",namespace=\"demo\",pod=\"client\",dst_namespace=\"demo\",dst_service=\"web\",dst_pod=\"web-b\"}} 0.002\n\
         weft_tcp_rtt_seconds_count{{direction=\"outbound\",namespace=\"demo\",pod=\"client\",dst_namespace=\"demo\",dst_service=\"web\",dst_pod=\"web-b\"}} 4\n\
         tcp_read_bytes_total{{direction=\"inbound\",peer=\"src\",namespace=\"demo\",pod=\"web-a\",tls=\"local\",client_id=\"client.demo.{ID}\"}} 500\n"
    );
    let b = format!(
        "tcp_read_bytes_total{{direction=\"inbound\",peer=\"src\",namespace=\"demo\",pod=\"web-b\",tls=\"true\",client_id=\"client.demo.{ID}\"}} 1000100\n\
         tcp_read_bytes_total{{direction=\"inbound\",peer=\"src\",namespace=\"demo\",pod=\"web-b\",tls=\"no_identity\",no_tls_reason=\"no_tls_from_remote\"}} 70\n\
         inbound_tcp_authz_deny_total{{direction=\"inbound\",namespace=\"demo\",pod=\"web-b\",tls=\"no_identity\",no_tls_reason=\"no_tls_from_remote\"}} 2\n\
         tcp_write_bytes_total{{direction=\"inbound\",peer=\"dst\",namespace=\"demo\",pod=\"web-b\",tls=\"true\"}} 1\n"
    );
    let page = |node: &str, text: &str| NodePage { node: node.to_owned(), samples: parse(text) };
    vec![page("a", &a), page("b", &b)]
}

#[test]
fn rows_tell_who_talks_to_whom() {
    let rows = rows(&pages(), &pods());
    let of = |destination: &str| rows.iter().find(|row| row.destination == destination).unwrap();
    assert_eq!(rows.len(), 4, "{rows:#?}");
    let cross = of("demo/web (web-b)");
    assert_eq!(cross.source, "demo/client");
    assert_eq!(cross.nodes, "a → b");
    assert_eq!(cross.secured, Secured::Mtls);
    assert_eq!((cross.open, cross.total), (2, 4));
    assert_eq!((cross.sent, cross.received), (1_000_000, 2_000_000));
    assert_eq!(cross.rtt, Some(Duration::from_micros(500)));
    let local = of("demo/web (web-a)");
    assert_eq!((local.nodes.as_str(), &local.secured), ("a", &Secured::SameNode));
    assert_eq!(of("192.0.2.1:80").nodes, "a → outside");
    let unmeshed = of("demo/web-b");
    assert_eq!((unmeshed.source.as_str(), unmeshed.sent), (UNMESHED, 70));
    assert_eq!(unmeshed.secured, Secured::Plaintext("no_tls_from_remote".to_owned()));
}

#[test]
fn the_table_has_a_line_per_row() {
    let text = render(&rows(&pages(), &pods()));
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.contains("mTLS") && text.contains("976.6 KiB") && text.contains("0.50 ms"), "{text}");
    assert!(text.contains("plaintext: no_tls_from_remote, 2 refused"), "{text}");
}

#[test]
fn both_ends_have_to_agree() {
    let proof = prove(&pages(), &pods());
    assert_eq!(proof.missing, Vec::<String>::new());
    assert_eq!(proof.found.len(), 2, "{proof:?}");

    let mut one_sided = pages();
    one_sided[1].samples.clear();
    let proof = prove(&one_sided, &pods());
    assert!(proof.missing[0].contains("has no inbound bytes with tls=\"true\""), "{proof:?}");

    let mut lossy = pages();
    lossy[1].samples[0].value = 500_000.0;
    let proof = prove(&lossy, &pods());
    assert!(proof.missing[0].contains("1000000 bytes were sent but 500000 arrived"), "{proof:?}");
}

#[test]
fn the_servers_identity_has_to_be_its_service_account() {
    let mut pods = pods();
    pods.get_mut("demo/web-b").unwrap().service_account = "other".to_owned();
    let proof = prove(&pages(), &pods);
    assert!(proof.missing[0].contains("not other.demo"), "{proof:?}");
    assert!(prove(&[], &pods).missing[1].contains("no outbound connection"), "{proof:?}");
}

#[test]
fn golden_metrics_are_printed_as_viz_stat_does() {
    let stat = |name: &str, success: Option<f64>| Stat {
        name: name.to_owned(),
        meshed: (2, 2),
        success,
        rps: success.map(|_| 9.96),
        latency: success.map(|_| [0.5, 17.4, 1234.0]),
        connections: 4,
    };
    let text = render_stats(&[stat("demo/web", None), stat("emojivoto/voting", Some(0.8534))]);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["demo/web", "2/2", "-", "-", "-", "-", "-", "4"]);
    assert_eq!(lines[2], ["emojivoto/voting", "2/2", "85.34%", "10.0rps", "0.5ms", "17ms", "1234ms", "4"]);
}

#[test]
fn the_table_of_failures_is_left_out_if_there_are_none() {
    assert_eq!(render_worst(&[]), "");
    let row = Worst {
        workload: "emojivoto/voting".to_owned(),
        method: "POST".to_owned(),
        path: "/emojivoto.v1.VotingService/VoteDoughnut".to_owned(),
        requests: 120,
        failures: 90,
    };
    let text = render_worst(&[row]);
    let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(
        last,
        ["emojivoto/voting", "POST", "/emojivoto.v1.VotingService/VoteDoughnut", "25.00%", "120"]
    );
}
