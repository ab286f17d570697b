//! Starts nginx.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Home, Program};
use crate::{load::Pattern, mesh::Pod};

/// nginx on `port` of both families; `/page` is `length` bytes of the pattern with seed 0.
pub fn nginx(pod: &Pod, port: u16, length: usize) -> Result<Program> {
    start(pod, port, Some(length), |root| {
        format!(
            "server {{ {} root {root}; location = /client {{ return 200 $remote_addr; }} }}",
            listen(port, "")
        )
    })
}

/// The same page over HTTP/2 without TLS.
pub fn nginx_http2(pod: &Pod, port: u16, length: usize) -> Result<Program> {
    start(pod, port, Some(length), |root| format!("server {{ {} root {root}; }}", listen(port, " http2")))
}

/// nginx as a reverse proxy for `target`: below `/old` by HTTP/1.0 with a connection for each request, as it does
/// unless told otherwise, and elsewhere by HTTP/1.1 with connections that are kept.
pub fn nginx_before(pod: &Pod, port: u16, target: &str) -> Result<Program> {
    start(pod, port, None, |_| {
        format!(
            "map $http_upgrade $upgrade {{ default upgrade; '' ''; }}
upstream target {{ server {target}; keepalive 8; }}
client_max_body_size 0; proxy_buffering off; proxy_request_buffering off;
server {{
    {}
    location /old/ {{ proxy_pass http://target/; }}
    location / {{
        proxy_pass http://target; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgrade;
    }}
}}",
            listen(port, "")
        )
    })
}

fn listen(port: u16, protocol: &str) -> String {
    format!("listen {port}{protocol}; listen [::]:{port}{protocol};")
}

fn start(
    pod: &Pod,
    port: u16,
    page_length: Option<usize>,
    settings: impl FnOnce(&str) -> String,
) -> Result<Program> {
    let home = Home::new(None)?;
    if let Some(length) = page_length {
        let mut page = vec![0; length];
        Pattern::new(0).fill(&mut page);
        std::fs::write(home.path("page"), page)?;
    }
    let root = home.root().display().to_string();
    let configuration = home.write(
        "nginx.conf",
        &format!(
            "daemon off; user root; worker_processes 1; error_log stderr; pid {root}/pid;
events {{ worker_connections 512; }}
http {{
    access_log off; default_type application/octet-stream; sendfile on;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
    {}
}}
",
            settings(&root)
        ),
    )?;
    let mut command = pod.command("nginx")?;
    // -e: until it has read the configuration it would write to the host's log.
    command.arg("-e").arg("stderr").arg("-c").arg(configuration);
    Program::start("nginx", pod, port, command, home, Signal::SIGTERM)
}
