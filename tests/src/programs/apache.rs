//! Starts Apache httpd.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Home, Program, cache};
use crate::{load::Pattern, mesh::Pod};

/// Apache on `port` of both families, for HTTP/1.1 and HTTP/2, also by Upgrade; `/page` is `length` bytes of the
/// pattern with seed 0.
pub fn apache(pod: &Pod, port: u16, length: usize) -> Result<Program> {
    let mut page = vec![0; length];
    Pattern::new(0).fill(&mut page);
    start(pod, port, Some(page), |root| format!("DocumentRoot {root}\nProtocols h2c http/1.1\nH2Direct on\n"))
}

/// Apache as a reverse proxy for `target`.
pub fn apache_before(pod: &Pod, port: u16, target: &str) -> Result<Program> {
    start(pod, port, None, |_| {
        format!("ProxyPass / http://{target}/ upgrade=websocket\nProxyPassReverse / http://{target}/\n")
    })
}

fn start(
    pod: &Pod,
    port: u16,
    page: Option<Vec<u8>>,
    settings: impl FnOnce(&str) -> String,
) -> Result<Program> {
    let apache = cache::need("apache2", "apache2")?;
    let home = Home::new(Some("www-data"))?;
    if let Some(page) = page {
        std::fs::write(home.path("page"), page)?;
    }
    let modules: String = ["mpm_event", "authz_core", "http2", "proxy", "proxy_http"]
        .map(|module| format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"))
        .concat();
    let root = home.root().display().to_string();
    let configuration = home.write(
        "apache.conf",
        &format!(
            "ServerRoot {root}\nServerName weft\nDefaultRuntimeDir {root}\nPidFile {root}/pid\nErrorLog {root}/errors
User www-data\nGroup www-data\nListen {port}\n{modules}{}",
            settings(&root)
        ),
    )?;
    let mut command = pod.command(&apache.to_string_lossy())?;
    command.arg("-f").arg(configuration).arg("-DFOREGROUND");
    Program::start("apache2", pod, port, command, home, Signal::SIGTERM)
}
