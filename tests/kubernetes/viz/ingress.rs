//! The dashboard behind Debian's nginx, which is configured as ingress-nginx does it for the documented annotations.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    kubernetes::{Cluster, NODES},
    suite::skip,
    wait,
};

use super::{
    dashboard::{get, upgrade},
    installed::{NAMESPACE, with_viz},
};

/// `upstream-vhost` becomes the Host. The snippet takes the Origin away: it is the browser's, which has the Ingress' name.
const ANNOTATED: &str = r#"
      proxy_set_header Host web.weft-viz.svc.cluster.local:8084;
      proxy_set_header Origin "";
      proxy_hide_header l5d-remote-ip;
      proxy_hide_header l5d-server-id;
"#;
/// Without annotations.
const PLAIN: &str = "
      proxy_set_header Host $http_host;
";
const CONFIG: &str = r#"
daemon off;
pid {folder}/pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    listen {node}:8085;
    location / {
      proxy_pass http://{service}:8084;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-Host $http_host;
{headers}
    }
  }
}
"#;
/// The name that users type.
const PUBLIC: &str = "dashboard.example.com";
const TAP: &str = "/api/tap?namespace=emojivoto&type=deployment&name=voting";

pub(super) fn the_dashboard_works_behind_an_ingress() -> Result<()> {
    with_viz(|cluster| {
        let annotated = Nginx::start(cluster, ANNOTATED)?;
        let page = get(&annotated.address, PUBLIC, "/namespaces/emojivoto", "")?;
        ensure!(page.starts_with("HTTP/1.1 200") && page.contains("<html"), "{page}");
        let stat =
            get(&annotated.address, PUBLIC, "/api/tps-reports?type=deployment&namespace=emojivoto", "")?;
        ensure!(stat.starts_with("HTTP/1.1 200") && stat.contains("voting"), "{stat}");
        let origin = format!("https://{PUBLIC}");
        let socket = upgrade(&annotated.address, PUBLIC, TAP, &origin)?;
        ensure!(socket.starts_with("HTTP/1.1 101"), "{socket}");
        drop(annotated);

        let plain = Nginx::start(cluster, PLAIN)?;
        let page = get(&plain.address, PUBLIC, "/", "")?;
        ensure!(page.starts_with("HTTP/1.1 400") && page.contains(PUBLIC), "{page}");
        // A page of another site opens a WebSocket in the user's browser.
        let own = "web.weft-viz.svc.cluster.local:8084";
        let socket = upgrade(&plain.address, own, TAP, "https://attacker.example")?;
        ensure!(socket.starts_with("HTTP/1.1 403"), "{socket}");
        let socket = upgrade(&plain.address, own, TAP, &format!("http://{own}"))?;
        ensure!(socket.starts_with("HTTP/1.1 101"), "{socket}");
        Ok(())
    })
}

/// nginx in the network of a node, where services can be reached; ended when it is dropped.
struct Nginx {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start(cluster: &Cluster, headers: &str) -> Result<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let program = program.ok_or_else(|| skip("nginx is not installed: apt-get install nginx-light"))?;
        let address = |object: &[&str], path: &str| {
            cluster.kubectl(&[&["get"], object, &["-o", &format!("jsonpath={path}")]].concat())
        };
        let node = address(&["node", NODES[0]], r#"{.status.addresses[?(@.type=="InternalIP")].address}"#)?;
        let service = address(&["-n", NAMESPACE, "service/web"], "{.spec.clusterIP}")?;
        let folder = tempfile::tempdir()?;
        let config = CONFIG
            .replace("{folder}", &folder.path().display().to_string())
            .replace("{node}", &node)
            .replace("{service}", &service)
            .replace("{headers}", headers);
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config)?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", cluster.node_netns(NODES[0]).display())).arg(program);
        let child = command
            .arg("-c")
            .arg(&file)
            .args(["-g", "user root;"])
            .stdin(Stdio::null())
            .spawn()
            .context("nginx")?;
        let nginx = Self { child, address: format!("{node}:8085"), _folder: folder };
        wait::until_ok("nginx listens", || Ok(std::net::TcpStream::connect(&nginx.address).map(drop)?))?;
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM has the master end its workers.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}
