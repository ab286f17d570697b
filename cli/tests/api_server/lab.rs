//! A cluster, as far as the API server can tell, and the tools that work on it.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{api_server::ApiServer, programs::Programs};

pub(crate) struct Lab {
    pub(crate) programs: Programs,
    folder: TempDir,
    server: ApiServer,
    /// The pages of the node proxies at 10.77.0.1 and 10.77.0.2.
    pages: Arc<Mutex<[Pages; 2]>>,
}

#[derive(Clone, Default)]
struct Pages {
    config: String,
    metrics: String,
    certificates: String,
}

/// What a check found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) category: String,
    pub(crate) description: String,
    pub(crate) result: String,
    pub(crate) error: String,
    pub(crate) hint: String,
}

impl Lab {
    pub(crate) fn start(programs: Programs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ApiServer::start(&programs, folder.path());
        let lab = Self { programs, folder, server, pages: Arc::default() };
        for (at, address) in ["10.77.0.1:4191", "10.77.0.2:4191"].into_iter().enumerate() {
            serve(at, address, lab.pages.clone());
        }
        lab
    }

    /// Sets the pages of a node's proxy.
    pub(crate) fn page(&self, node: usize, config: &Value, metrics: &str) {
        let mut pages = self.pages.lock().unwrap();
        pages[node].config = config.to_string();
        metrics.clone_into(&mut pages[node].metrics);
    }

    /// Sets the page /certificates.json of a node's proxy.
    pub(crate) fn certificates(&self, node: usize, page: &Value) {
        self.pages.lock().unwrap()[node].certificates = page.to_string();
    }

    pub(crate) fn kubectl(&self, args: &[&str], stdin: &str) -> String {
        let output = self.try_kubectl(args, stdin);
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn try_kubectl(&self, args: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(&self.programs.kubectl);
        command.arg("--kubeconfig").arg(&self.server.kubeconfig).args(args);
        run(&mut command, stdin)
    }

    /// Applies objects, and then their status.
    pub(crate) fn apply(&self, object: &Value) {
        self.kubectl(&["apply", "-f", "-"], &object.to_string());
        if object.get("status").is_some() {
            self.kubectl(
                &["apply", "--subresource=status", "--server-side", "--force-conflicts", "-f", "-"],
                &object.to_string(),
            );
        }
    }

    pub(crate) fn patch(&self, what: &[&str], patch: &Value) {
        let mut args = vec!["patch"];
        args.extend_from_slice(what);
        let text = patch.to_string();
        args.extend(["--type=merge", "-p", &text]);
        self.kubectl(&args, "");
    }

    pub(crate) fn weft(&self, args: &[&str], stdin: &str) -> Output {
        self.weft_as("kubeconfig", args, stdin)
    }

    /// With another kubeconfig of the lab.
    pub(crate) fn weft_as(&self, kubeconfig: &str, args: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command
            .env("KUBECONFIG", self.folder.path().join(kubeconfig))
            .env_remove("WEFT_NAMESPACE")
            .args(args);
        run(&mut command, stdin)
    }

    /// Writes a file in the lab's folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// The path of a file in the lab's folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What `weft check` finds with these options.
    pub(crate) fn check(&self, args: &[&str]) -> Vec<Found> {
        self.check_as("kubeconfig", args)
    }

    pub(crate) fn check_as(&self, kubeconfig: &str, args: &[&str]) -> Vec<Found> {
        self.found(kubeconfig, &[&["check"], args].concat())
    }

    /// What a command finds that checks.
    pub(crate) fn found(&self, kubeconfig: &str, command: &[&str]) -> Vec<Found> {
        let all = [command, &["-o", "json", "--wait", "0s"]].concat();
        let output = self.weft_as(kubeconfig, &all, "");
        let text = String::from_utf8(output.stdout).unwrap();
        let value: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)));
        let mut found = Vec::new();
        for category in value["categories"].as_array().unwrap() {
            for check in category["checks"].as_array().unwrap() {
                let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
                found.push(Found {
                    category: category["categoryName"].as_str().unwrap().to_owned(),
                    description: text("description"),
                    result: text("result"),
                    error: text("error"),
                    hint: text("hint"),
                });
            }
        }
        let failed = found.iter().any(|check| check.result == "error");
        assert_eq!((value["success"].as_bool(), output.status.success()), (Some(!failed), !failed));
        found
    }
}

fn run(command: &mut Command, stdin: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    let writer = thread::spawn(move || {
        // A program that does not read its input closes it.
        let _ = pipe.write_all(text.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Serves the pages that a node proxy would serve.
fn serve(node: usize, address: &str, pages: Arc<Mutex<[Pages; 2]>>) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let Pages { config, metrics, certificates } = pages.lock().unwrap()[node].clone();
            let body = match request.split(' ').nth(1) {
                Some("/config") => config,
                Some("/metrics") => metrics,
                Some("/certificates.json") => certificates,
                _ => String::new(),
            };
            let status = if body.is_empty() { "500 Internal Server Error" } else { "200 OK" };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}
