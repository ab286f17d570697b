//! The configuration of a pair of nginx: HTTP/1.1 kept alive between them, or HTTP/2 by its gRPC module.

use std::{fmt::Write as _, net::SocketAddr};

use super::{
    case::Kind,
    forward::{Forward, Plan},
};

pub(super) fn client_config(plan: &Plan) -> String {
    let folder = plan.folder.display();
    let servers = plan.forwards.iter().map(|forward| {
        let words = words(forward.kind);
        let module = words.module;
        // Options of the same name in both modules.
        let options = [
            "ssl_protocols TLSv1.3".to_owned(),
            format!("ssl_certificate {folder}/client.pem"),
            format!("ssl_certificate_key {folder}/client.pem"),
            format!("ssl_trusted_certificate {folder}/ca.pem"),
            "ssl_verify on".to_owned(),
            "ssl_name server".to_owned(),
            "ssl_server_name on".to_owned(),
        ]
        .map(|option| format!("      {module}_{option};\n"))
        .concat();
        let upstream = SocketAddr::from((plan.server, forward.entry));
        let listen = format!("    listen 127.0.0.1:{}{};\n", forward.entry, words.listen);
        server(forward, upstream, &listen, words.tls, &options)
    });
    whole("client", servers)
}

pub(super) fn server_config(plan: &Plan) -> String {
    let folder = plan.folder.display();
    let servers = plan.forwards.iter().map(|forward| {
        let words = words(forward.kind);
        let listen = format!(
            "    listen 0.0.0.0:{} ssl{};\n    ssl_protocols TLSv1.3;\n    ssl_certificate {folder}/server.pem;\n    \
             ssl_certificate_key {folder}/server.pem;\n    ssl_client_certificate {folder}/ca.pem;\n    \
             ssl_verify_client on;\n",
            forward.entry, words.listen
        );
        let upstream = SocketAddr::from(([127, 0, 0, 1], forward.application));
        server(forward, upstream, &listen, words.clear, "")
    });
    whole("server", servers)
}

struct Words {
    /// The module that forwards requests.
    module: &'static str,
    listen: &'static str,
    /// The scheme of an upstream without TLS.
    clear: &'static str,
    /// Of one with TLS.
    tls: &'static str,
    /// What the module needs to keep connections open.
    keep_alive: &'static str,
}

fn words(kind: Kind) -> Words {
    match kind {
        Kind::Http2 => {
            Words { module: "grpc", listen: " http2", clear: "grpc", tls: "grpcs", keep_alive: "" }
        }
        Kind::Echo | Kind::Sink | Kind::Http1 => Words {
            module: "proxy",
            listen: "",
            clear: "http",
            tls: "https",
            keep_alive: "      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n",
        },
    }
}

fn server(forward: &Forward, upstream: SocketAddr, listen: &str, scheme: &str, options: &str) -> String {
    let Words { module, keep_alive, .. } = words(forward.kind);
    let name = format!("upstream-{}", forward.entry);
    format!(
        "  upstream {name} {{\n    server {upstream};\n    keepalive 256;\n    keepalive_requests {ENDLESS};\n    \
         keepalive_timeout 1h;\n  }}\n  server {{\n{listen}    location / {{\n      {module}_pass \
         {scheme}://{name};\n{keep_alive}{options}    }}\n  }}\n"
    )
}

/// nginx would close a connection after 1 000 requests.
const ENDLESS: u32 = 1_000_000_000;

fn whole(side: &str, servers: impl Iterator<Item = String>) -> String {
    let mut config = format!(
        "daemon off;\nuser root;\nworker_processes auto;\npid {side}.pid;\nerror_log stderr warn;\nevents {{\n  \
         worker_connections 8192;\n}}\nhttp {{\n  access_log off;\n  keepalive_requests {ENDLESS};\n  \
         keepalive_timeout 1h;\n  http2_max_concurrent_streams 256;\n"
    );
    for temporary in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(config, "  {temporary}_temp_path {side}-{temporary};");
    }
    config.extend(servers);
    config.push_str("}\n");
    config
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, path::Path};

    use super::*;

    #[test]
    fn both_sides_require_certificates_and_keep_connections_open() {
        let forwards = [
            Forward { kind: Kind::Http1, entry: 7132, application: 7102 },
            Forward { kind: Kind::Http2, entry: 7133, application: 7103 },
        ];
        let plan = Plan { folder: Path::new("/x"), server: Ipv4Addr::new(10, 0, 0, 2), forwards: &forwards };
        let (client, server) = (client_config(&plan), server_config(&plan));
        assert!(client.contains("proxy_ssl_verify on;") && client.contains("grpc_ssl_verify on;"));
        assert_eq!(server.matches("ssl_verify_client on;").count(), 2);
        assert!(
            client.contains("listen 127.0.0.1:7133 http2;")
                && server.contains("listen 0.0.0.0:7133 ssl http2;")
        );
        assert!(
            client.contains("proxy_pass https://upstream-7132;") && client.contains("server 10.0.0.2:7132;")
        );
        assert!(
            server.contains("grpc_pass grpc://upstream-7133;") && server.contains("server 127.0.0.1:7103;")
        );
        assert!([client, server].iter().all(|config| config.contains("keepalive_requests 1000000000;")));
    }
}
