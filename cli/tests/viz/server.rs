//! A small server that speaks the contract of docs/viz-api.md, with answers that a test chooses.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the server has heard and what it says.
#[derive(Default)]
struct State {
    answers: BTreeMap<String, (u16, String)>,
    /// One list of lines for each tap that is opened, in order.
    taps: Vec<Vec<Value>>,
    requests: Vec<String>,
}

/// weft-viz, as far as a client can tell, with a context that leads to it.
pub(crate) struct Server {
    folder: TempDir,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        std::fs::write(folder.path().join("token"), "a-token\n").unwrap();
        let context = json!({
            "name": "test", "webUrl": url, "tapUrl": url, "tapTokenFile": folder.path().join("token"),
            "prometheusUrl": null, "controlPlaneNamespace": "weft",
        });
        std::fs::write(folder.path().join("context.json"), context.to_string()).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), shared.clone());
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { folder, address, state }
    }

    /// Answers a call with this data.
    pub(crate) fn answer(&self, path: &str, data: impl Serialize) {
        self.answer_with(path, data, "prometheus", &[]);
    }

    /// Answers a call with what the proxies said, because Prometheus is away.
    pub(crate) fn answer_without_prometheus(&self, path: &str, data: impl Serialize, message: &str) {
        let warning = json!({ "code": "prometheus_unavailable", "message": message });
        self.answer_of(path, data, "proxies", &[warning]);
    }

    pub(crate) fn answer_with(&self, path: &str, data: impl Serialize, source: &str, warnings: &[&str]) {
        let warnings: Vec<_> = warnings.iter().map(|text| json!({ "code": "x", "message": text })).collect();
        self.answer_of(path, data, source, &warnings);
    }

    fn answer_of(&self, path: &str, data: impl Serialize, source: &str, warnings: &[Value]) {
        let meta = json!({ "at": 1.0, "window": "1m", "source": source, "warnings": warnings });
        let body = json!({ "meta": meta, "data": data }).to_string();
        self.state.lock().unwrap().answers.insert(path.to_owned(), (200, body));
    }

    /// Refuses a call.
    pub(crate) fn refuse(&self, path: &str, status: u16, code: &str, message: &str, hint: &str) {
        let body = json!({ "error": { "code": code, "message": message, "hint": hint } }).to_string();
        self.state.lock().unwrap().answers.insert(path.to_owned(), (status, body));
    }

    /// What the next tap says.
    pub(crate) fn tap(&self, lines: Vec<Value>) {
        self.state.lock().unwrap().taps.push(lines);
    }

    /// The first lines of the requests so far, and their `authorization`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.folder.path().join("context.json")
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        Self::prepare(&format!("--vm={}", self.context().display()), words)
    }

    /// Runs `weft viz --api-addr` with the server's address.
    pub(crate) fn direct(&self, words: &[&str]) -> Output {
        Self::prepare(&format!("--api-addr={}", self.address), words).output().unwrap()
    }

    fn prepare(way: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command
            .env_remove("WEFT_VM")
            .env_remove("WEFT_VIZ_NAMESPACE")
            .env("KUBECONFIG", "/does-not-exist")
            .args(["viz", way])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `weft viz`.
    pub(crate) fn viz(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let mut authorization = String::new();
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(value) = line.to_lowercase().strip_prefix("authorization: ") {
            authorization = format!(" {value}");
        }
    }
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let is_tap = path.starts_with("/apis/");
    let (status, body) = {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{target}{authorization}"));
        let not_found =
            || (404, r#"{"error":{"code":"not_found","message":"No such thing.","hint":null}}"#.to_owned());
        match (is_tap, state.taps.is_empty()) {
            (true, false) => {
                let lines = state.taps.remove(0);
                (200, lines.iter().map(|line| format!("{line}\n")).collect())
            }
            (true, true) => {
                (403, r#"{"error":{"code":"forbidden","message":"No more taps.","hint":null}}"#.to_owned())
            }
            (false, _) => state.answers.get(&path).cloned().unwrap_or_else(not_found),
        }
    };
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
    stderr(output)
}
