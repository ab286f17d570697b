//! The configuration of a pair of haproxy: TCP mode for bytes, HTTP mode for requests.

use std::fmt::Write as _;

use super::{
    case::Kind,
    forward::{Forward, Plan},
};

pub(super) fn client_config(threads: Option<u8>, plan: &Plan) -> String {
    let (folder, server) = (plan.folder.display(), plan.server);
    let mut config = head(threads);
    for Forward { kind, entry, .. } in plan.forwards {
        let Words { mode, clear, tls } = words(*kind);
        let _ = write!(
            config,
            "listen forward-{entry}\n    mode {mode}\n    bind 127.0.0.1:{entry}{clear}\n    server far \
             {server}:{entry} ssl verify required ca-file {folder}/ca.pem crt {folder}/client.pem sni str(server) \
             verifyhost server{tls}\n"
        );
    }
    config
}

pub(super) fn server_config(threads: Option<u8>, plan: &Plan) -> String {
    let folder = plan.folder.display();
    let mut config = head(threads);
    for Forward { kind, entry, application } in plan.forwards {
        let Words { mode, clear, tls } = words(*kind);
        let _ = write!(
            config,
            "listen forward-{entry}\n    mode {mode}\n    bind 0.0.0.0:{entry} ssl crt {folder}/server.pem ca-file \
             {folder}/ca.pem verify required{tls}\n    server application 127.0.0.1:{application}{clear}\n"
        );
    }
    config
}

struct Words {
    mode: &'static str,
    /// Of a bind or server line without TLS.
    clear: &'static str,
    /// Of one with TLS.
    tls: &'static str,
}

fn words(kind: Kind) -> Words {
    match kind {
        Kind::Echo | Kind::Sink => Words { mode: "tcp", clear: "", tls: "" },
        Kind::Http1 => Words { mode: "http", clear: "", tls: "" },
        Kind::Http2 => Words { mode: "http", clear: " proto h2", tls: " alpn h2" },
    }
}

/// haproxy's defaults, where it has some; except that it accepts only 100 streams of a connection, fewer than one case
/// has.
fn head(threads: Option<u8>) -> String {
    let threads = threads.map(|threads| format!("    nbthread {threads}\n")).unwrap_or_default();
    format!(
        "global\n    maxconn 4000\n{threads}    tune.h2.max-concurrent-streams 256\n    ssl-default-bind-options \
         ssl-min-ver TLSv1.3\n    ssl-default-server-options ssl-min-ver TLSv1.3\ndefaults\n    timeout connect \
         10s\n    timeout client 1h\n    timeout server 1h\n"
    )
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, path::Path};

    use super::*;

    fn plan(forwards: &[Forward]) -> Plan<'_> {
        Plan { folder: Path::new("/x"), server: Ipv4Addr::new(10, 0, 0, 2), forwards }
    }

    #[test]
    fn both_sides_require_certificates_and_tls_1_3() {
        let forwards = [Forward { kind: Kind::Echo, entry: 7110, application: 7000 }];
        let client = client_config(Some(1), &plan(&forwards));
        let server = server_config(None, &plan(&forwards));
        for config in [&client, &server] {
            assert!(config.contains("verify required"));
            assert!(config.contains("ssl-min-ver TLSv1.3"));
            assert!(config.contains("mode tcp\n"));
        }
        assert!(client.contains("bind 127.0.0.1:7110\n") && client.contains("server far 10.0.0.2:7110 ssl"));
        assert!(server.contains("server application 127.0.0.1:7000\n"));
        assert!(client.contains("nbthread 1\n") && !server.contains("nbthread"));
    }

    #[test]
    fn requests_are_handled_as_such_on_every_hop() {
        let forwards = [Forward { kind: Kind::Http2, entry: 7113, application: 7103 }];
        let (client, server) = (client_config(None, &plan(&forwards)), server_config(None, &plan(&forwards)));
        assert!(client.contains("mode http\n") && server.contains("mode http\n"));
        assert!(
            client.contains("bind 127.0.0.1:7113 proto h2\n")
                && client.contains("verifyhost server alpn h2\n")
        );
        assert!(server.contains("verify required alpn h2\n") && server.contains("127.0.0.1:7103 proto h2\n"));
    }
}
