//! Starts nginx.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Home, Program};
use crate::{load::Pattern, mesh::Pod};

/// nginx on `port` of both families; `/page` is `length` bytes of the pattern with seed 0.
pub fn nginx(pod: &Pod, port: u16, length: usize) -> Result<Program> {
    let home = Home::new(None)?;
    let mut page = vec![0; length];
    Pattern::new(0).fill(&mut page);
    std::fs::write(home.path("page"), page)?;
    let root = home.root().display();
    let configuration = home.write(
        "nginx.conf",
        &format!(
            "daemon off; user root; worker_processes 1; error_log stderr; pid {root}/pid;
events {{ worker_connections 512; }}
http {{
    access_log off; default_type application/octet-stream; sendfile on;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
    server {{ listen {port}; listen [::]:{port}; root {root}; location = /client {{ return 200 $remote_addr; }} }}
}}
"
        ),
    )?;
    let mut command = pod.command("nginx")?;
    // -e: until it has read the configuration it would write to the host's log.
    command.arg("-e").arg("stderr").arg("-c").arg(configuration);
    Program::start("nginx", pod, port, command, home, Signal::SIGTERM)
}
