//! The dashboard behind Debian's nginx, which is configured as ingress-nginx does it for the Ingress in docs/viz.md.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use weft_tests::{
    kubernetes::{Cluster, NODES, wait},
    suite::skip,
};

use super::{
    dashboard::{first_message, get, upgrade},
    installed::{NAMESPACE, with_viz},
};

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
/// The name that users type, as in the documentation.
const PUBLIC: &str = "dashboard.example.org";
const TAP: &str = "/api/tap?namespace=emojivoto&type=deployment&name=voting";
/// admin with the password admin, whose hash the documentation has.
const LOGIN: &str = "Authorization: Basic YWRtaW46YWRtaW4=\r\n";
const DOCUMENTATION: &str = include_str!("../../../docs/viz.md");
/// Where the documented objects are in it.
const BEGIN: &str = "### nginx, with basic auth\n```yaml\n";

pub(super) fn the_dashboard_works_behind_an_ingress() -> Result<()> {
    with_viz(|cluster| {
        let folder = tempfile::tempdir()?;
        let documented = documented(cluster, folder.path())?;
        let annotated = Nginx::start(cluster, &documented)?;
        let locked = get(&annotated.address, PUBLIC, "/", "")?;
        ensure!(locked.starts_with("HTTP/1.1 401") && locked.contains("Authentication Required"), "{locked}");
        let page = get(&annotated.address, PUBLIC, "/namespaces/emojivoto", LOGIN)?;
        ensure!(page.starts_with("HTTP/1.1 200") && page.contains("<html"), "{page}");
        ensure!(!page.to_lowercase().contains("l5d-server-id"), "{page}");
        let stat = "/api/tps-reports?type=deployment&namespace=emojivoto";
        let stat = get(&annotated.address, PUBLIC, stat, LOGIN)?;
        ensure!(stat.starts_with("HTTP/1.1 200") && stat.contains("voting"), "{stat}");
        let origin = format!("https://{PUBLIC}");
        let locked = upgrade(&annotated.address, PUBLIC, TAP, &origin)?;
        ensure!(locked.starts_with("HTTP/1.1 401"), "{locked}");
        // A call arrives, not only the first message.
        let call = first_message(
            &annotated.address,
            PUBLIC,
            TAP,
            &format!("Origin: {origin}\r\n{LOGIN}"),
            |text| text.contains("\"events\"") && text.contains("emojivoto.v1.VotingService"),
        )?;
        ensure!(call.contains("\"event\":\"request\""), "{call}");
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

/// What ingress-nginx writes into nginx' configuration for the documented Ingress: the API server has it, as a controller
/// would read it.
fn documented(cluster: &Cluster, folder: &Path) -> Result<String> {
    let (_, rest) = DOCUMENTATION.split_once(BEGIN).context("docs/viz.md has no Ingress for nginx")?;
    let (manifest, _) = rest.split_once("```").context("the manifest has no end")?;
    cluster.apply(manifest)?;
    let read = |object: &str| -> Result<Value> {
        Ok(serde_json::from_str(&cluster.kubectl(&["-n", NAMESPACE, "get", object, "-o", "json"])?)?)
    };
    let ingress = read("ingress/web-ingress")?;
    let rule = &ingress["spec"]["rules"][0];
    ensure!(rule["host"] == PUBLIC, "the documented host is {}", rule["host"]);
    let service = &rule["http"]["paths"][0]["backend"]["service"];
    ensure!(service["name"] == "web" && service["port"]["number"] == 8084, "{service}");
    let mut lines = vec![format!("set $namespace {NAMESPACE};"), "set $service_name web;".to_owned()];
    for (name, value) in ingress["metadata"]["annotations"].as_object().context("no annotations")? {
        let Some(name) = name.strip_prefix("nginx.ingress.kubernetes.io/") else { continue };
        let value = value.as_str().unwrap_or_default();
        lines.push(match name {
            "upstream-vhost" => format!("proxy_set_header Host \"{value}\";"),
            "configuration-snippet" => value.to_owned(),
            "auth-type" if value == "basic" => "proxy_set_header Authorization \"\";".to_owned(),
            "auth-realm" => format!("auth_basic \"{value}\";"),
            "auth-secret" => {
                let secret = read(&format!("secret/{value}"))?;
                let encoded = secret["data"]["auth"].as_str().context("the Secret has no key auth")?;
                let file = folder.join("auth");
                fs::write(&file, BASE64_STANDARD.decode(encoded)?)?;
                format!("auth_basic_user_file {};", file.display())
            }
            other => bail!("what nginx makes of the annotation {other} is not known to this test"),
        });
    }
    cluster.kubectl(&["-n", NAMESPACE, "delete", "ingress/web-ingress", "secret/web-ingress-auth"])?;
    Ok(lines.join("\n"))
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
