//! Tests that a scrape counts exactly what happened.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::*;
use crate::net::Peer;

fn identity(name: &str) -> crate::tls::Identity {
    format!("{name}.demo.serviceaccount.identity.linkerd.cluster.local").parse().unwrap()
}

fn workload() -> Arc<WorkloadLabels> {
    let extra = BTreeMap::from([
        ("deployment".to_owned(), "web".to_owned()),
        ("app.kubernetes.io/name".to_owned(), "we\"b\\\n".to_owned()),
        ("direction".to_owned(), "mine".to_owned()),
    ]);
    Arc::new(WorkloadLabels::new("demo", "web-1", &extra))
}

fn outbound() -> TransportLabels {
    TransportLabels {
        direction: Direction::Outbound,
        peer: Peer::Dst,
        workload: workload(),
        tls: Tls::Established(identity("voting")),
        target: "10.0.0.7:80".parse().unwrap(),
        server: None,
        destination: Some(Arc::new(BTreeMap::from([("dst_service".to_owned(), "voting".to_owned())]))),
    }
}

const OUTBOUND: &str = "direction=\"outbound\",peer=\"dst\",namespace=\"demo\",pod=\"web-1\",\
    app_kubernetes_io_name=\"we\\\"b\\\\\\n\",deployment=\"web\",\
    target_addr=\"10.0.0.7:80\",target_ip=\"10.0.0.7\",target_port=\"80\",tls=\"true\",\
    server_id=\"voting.demo.serviceaccount.identity.linkerd.cluster.local\",dst_service=\"voting\"";

fn scrape(metrics: &Metrics) -> String {
    let text = metrics.encode().unwrap();
    assert_valid(&text);
    text
}

/// Checks that every sample belongs to a declared family, and that there are no duplicate series.
fn assert_valid(text: &str) {
    let (mut families, mut series) = (HashSet::new(), HashSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, _) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "family {name} is declared twice");
        } else if !line.starts_with('#') {
            let (labelled, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            assert!(series.insert(labelled.to_owned()), "duplicate series {labelled}");
            let name = labelled.split('{').next().unwrap();
            let family = ["_sum", "_count", "_bucket", "_total", "_info"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix));
            assert!(families.contains(name) || family.is_some_and(|f| families.contains(f)), "{name}");
        }
    }
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(text.lines().any(|have| have == line), "no line\n{line}\nin\n{text}");
}

#[test]
fn a_connection_is_counted_exactly() {
    let metrics = Metrics::new(&[("tls_suites", "TLS13_AES_128_GCM_SHA256".to_owned())]);
    let transport = metrics.transport(&outbound());
    let (one, two) = (transport.open(), transport.open());
    one.read(3);
    one.wrote(5);
    two.wrote(1);
    two.rtt(Duration::from_micros(70));
    two.retransmits(2);
    let text = scrape(&metrics);
    assert_line(&text, &format!("tcp_open_total{{{OUTBOUND}}} 2"));
    assert_line(&text, &format!("tcp_open_connections{{{OUTBOUND}}} 2"));
    assert!(!text.contains("tcp_close_total{"));
    one.close(Some("ECONNRESET"));
    drop(two);
    let text = scrape(&metrics);
    assert_line(&text, &format!("tcp_open_total{{{OUTBOUND}}} 2"));
    assert_line(&text, &format!("tcp_open_connections{{{OUTBOUND}}} 0"));
    assert_line(&text, &format!("tcp_read_bytes_total{{{OUTBOUND}}} 3"));
    assert_line(&text, &format!("tcp_write_bytes_total{{{OUTBOUND}}} 6"));
    assert_line(&text, &format!("tcp_close_total{{{OUTBOUND},errno=\"\"}} 1"));
    assert_line(&text, &format!("tcp_close_total{{{OUTBOUND},errno=\"ECONNRESET\"}} 1"));
    assert_line(&text, "# TYPE tcp_open counter");
    assert_line(&text, "# TYPE weft_tcp_rtt_seconds histogram");
    assert_line(&text, "rustls_info{tls_suites=\"TLS13_AES_128_GCM_SHA256\"} 1");
    let path = "direction=\"outbound\",namespace=\"demo\",pod=\"web-1\",\
        app_kubernetes_io_name=\"we\\\"b\\\\\\n\",deployment=\"web\",dst_service=\"voting\"";
    assert_line(&text, &format!("weft_tcp_rtt_seconds_bucket{{le=\"0.0001\",{path}}} 1"));
    assert_line(&text, &format!("weft_tcp_rtt_seconds_count{{{path}}} 1"));
    assert_line(&text, &format!("weft_tcp_retransmits_total{{{path}}} 2"));
    for family in ["start_time_seconds", "cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"]
    {
        assert!(text.lines().any(|line| line.starts_with(&format!("process_{family} "))), "{family}");
    }
    assert!(metrics.encode().unwrap().ends_with("# EOF\n"));
}

#[test]
fn security_labels_are_linkerds() {
    let metrics = Metrics::new(&[]);
    let server = Arc::new(ServerLabels {
        group: String::new(),
        kind: "default".into(),
        name: "all-unauthenticated".into(),
        port: 80,
    });
    for (tls, labels) in [
        (Tls::Anonymous, "tls=\"true\",client_id=\"\""),
        (
            Tls::NoIdentity(reason::NO_TLS_FROM_REMOTE),
            "tls=\"no_identity\",no_tls_reason=\"no_tls_from_remote\"",
        ),
        (Tls::Opaque { sni: Some("x.org".into()) }, "tls=\"opaque\",sni=\"x.org\""),
        (Tls::Opaque { sni: None }, "tls=\"opaque\""),
    ] {
        let key = TransportLabels {
            direction: Direction::Inbound,
            peer: Peer::Src,
            tls: tls.clone(),
            target: "[fd00::7]:80".parse().unwrap(),
            server: Some(server.clone()),
            destination: None,
            ..outbound()
        };
        drop(metrics.transport(&key).open());
        let authz = DecisionLabels {
            workload: key.workload.clone(),
            target: key.target,
            tls,
            server: key.server.clone(),
            authz: Some(Arc::new(AuthorizationLabels::default_of("all-unauthenticated"))),
        };
        metrics.authz(AuthzOutcome::Allow, &authz);
        metrics.authz(AuthzOutcome::Deny, &authz);
        let nameless = DecisionLabels { authz: None, ..authz };
        metrics.authz(AuthzOutcome::Deny, &nameless);
        let unlabelled = TransportLabels { destination: Some(Arc::default()), ..key };
        metrics.transport(&unlabelled);
        let text = scrape(&metrics);
        let labels = format!(
            "target_addr=\"[fd00::7]:80\",target_ip=\"fd00::7\",target_port=\"80\",{labels},\
             srv_group=\"\",srv_kind=\"default\",srv_name=\"all-unauthenticated\",srv_port=\"80\"}} 1"
        );
        assert!(text.lines().any(|l| l.starts_with("tcp_open_total{") && l.ends_with(&labels)), "{labels}");
        let denied = labels.replace("} 1", "} 2");
        assert!(text.lines().any(|l| l.starts_with("inbound_tcp_authz_deny_total{") && l.ends_with(&denied)));
        let authz = labels
            .replace("} 1", ",authz_group=\"\",authz_kind=\"default\",authz_name=\"all-unauthenticated\"} 1");
        assert!(text.lines().any(|l| l.starts_with("inbound_tcp_authz_allow_total{") && l.ends_with(&authz)));
    }
}

#[test]
fn the_number_of_series_is_limited_and_no_count_is_lost() {
    let limits = Limits { label_sets: 16, ..Limits::default() };
    let metrics = Metrics::with_limits(&[], &limits);
    for port in 1..=100 {
        let mut key = outbound();
        key.target.set_port(port);
        metrics.transport(&key).open().read(1);
    }
    for pod in 0..10 {
        let workload = WorkloadLabels::new("demo", format!("web-{pod}"), &BTreeMap::new());
        metrics.refused(Direction::Inbound, &Arc::new(workload), Reason::Io);
    }
    let text = scrape(&metrics);
    assert_line(&text, "inbound_tcp_errors_total{overflow=\"true\"} 8");
    let read: Vec<u64> = text
        .lines()
        .filter(|line| line.starts_with("tcp_read_bytes_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(read.len(), 17);
    assert_eq!(read.iter().sum::<u64>(), 100);
    assert_line(&text, "weft_metrics_label_sets_overflow_total 92");
}

#[test]
fn certificates_and_errors_are_counted() {
    let metrics = Metrics::new(&[]);
    let identity = metrics.identity();
    identity.issued("a.b", std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    identity.failed("a.b");
    metrics.refused(Direction::Inbound, &workload(), Reason::DetectionTimeout);
    let text = scrape(&metrics);
    assert_line(&text, "control_identity_cert_expiration_timestamp_seconds{identity=\"a.b\"} 4000000000.0");
    assert_line(&text, "control_identity_cert_refreshes_total{identity=\"a.b\",result=\"ok\"} 1");
    assert_line(&text, "control_identity_cert_refreshes_total{identity=\"a.b\",result=\"error\"} 1");
    assert!(text.contains("error=\"tls detection timeout\"} 1"));
    identity.remove("a.b");
    assert!(!scrape(&metrics).contains("a.b"));
}
