//! The plugin against a runtime that the test plays, with the bytes that containerd sends.

use std::{path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use super::{
    Connection, Plugin, PodEvents, Sandbox,
    frame::{Decoder, Message, PLUGIN_SERVICE, REQUEST, RESPONSE, RUNTIME_SERVICE},
    messages::{
        ConfigureResponse, LinuxNamespace, LinuxPodSandbox, PodRequest, PodSandbox, RegisterPluginRequest,
        Request, Response, SynchronizeRequest, SynchronizeResponse,
    },
};

const LIMIT: Duration = Duration::from_secs(5);

/// Notes what it is told; holds pods named `held` and refuses those named `refused`.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl PodEvents for Notes {
    fn synchronize(&self, sandboxes: Vec<Sandbox>) {
        let names: Vec<_> = sandboxes.iter().map(|sandbox| sandbox.name.as_str()).collect();
        self.0.lock().push(format!("all {}", names.join(" ")));
    }

    async fn run(&self, sandbox: Sandbox, limit: Duration) -> Result<(), String> {
        self.0.lock().push(format!("run {} {:?} {:?}", sandbox.name, sandbox.netns, sandbox.ips));
        match sandbox.name.as_str() {
            "held" => {
                tokio::time::sleep(limit).await;
                Ok(())
            }
            "refused" => Err("not yet".repeat(1_000)),
            _ => Ok(()),
        }
    }

    fn stopped(&self, id: &str) {
        self.0.lock().push(format!("stopped {id}"));
    }

    fn removed(&self, id: &str) {
        self.0.lock().push(format!("removed {id}"));
    }
}

struct Runtime {
    stream: UnixStream,
    decoder: Decoder,
    next: u32,
}

impl Runtime {
    async fn accept(listener: &UnixListener) -> Self {
        Self { stream: listener.accept().await.unwrap().0, decoder: Decoder::default(), next: 1 }
    }

    async fn receive(&mut self) -> Message {
        loop {
            if let Some(message) = self.decoder.next().unwrap() {
                return message;
            }
            let read = tokio::time::timeout(LIMIT, self.stream.read_buf(self.decoder.buffer())).await;
            assert_ne!(read.unwrap().unwrap(), 0, "the plugin closed the connection");
        }
    }

    async fn call(&mut self, method: &str, message: &impl prost::Message) -> u32 {
        let request = Request {
            service: "nri.pkg.api.v1alpha1.Plugin".to_owned(),
            method: method.to_owned(),
            payload: message.encode_to_vec(),
            timeout_nano: 400_000_000,
        };
        let stream = self.next;
        self.next += 2;
        let message =
            Message { connection: PLUGIN_SERVICE, stream, kind: REQUEST, payload: request.encode_to_vec() };
        self.stream.write_all(&message.encode().unwrap()).await.unwrap();
        stream
    }

    async fn answer(&mut self) -> (u32, Response) {
        let message = self.receive().await;
        assert_eq!((message.connection, message.kind), (PLUGIN_SERVICE, RESPONSE));
        (message.stream, Response::decode(&message.payload[..]).unwrap())
    }

    /// Accepts the plugin's registration and configures it.
    async fn configure(&mut self) {
        let message = self.receive().await;
        assert_eq!((message.connection, message.kind), (RUNTIME_SERVICE, REQUEST));
        let request = Request::decode(&message.payload[..]).unwrap();
        assert_eq!(
            (request.service.as_str(), request.method.as_str()),
            ("nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin")
        );
        let plugin = RegisterPluginRequest::decode(&request.payload[..]).unwrap();
        assert_eq!((plugin.plugin_name.as_str(), plugin.plugin_idx.len()), ("weft-proxy", 2));
        let accepted = Message {
            connection: RUNTIME_SERVICE,
            stream: message.stream,
            kind: RESPONSE,
            payload: Response::default().encode_to_vec(),
        };
        self.stream.write_all(&accepted.encode().unwrap()).await.unwrap();
        self.call("Configure", &PodRequest::default()).await;
        let (_, answer) = self.answer().await;
        assert_eq!(ConfigureResponse::decode(&answer.payload[..]).unwrap().events, 7);
    }
}

fn pod(name: &str) -> PodRequest {
    let netns = LinuxNamespace { kind: "network".to_owned(), path: "/var/run/netns/cni-1".to_owned() };
    let ipc = LinuxNamespace { kind: "ipc".to_owned(), path: String::new() };
    PodRequest {
        pod: Some(PodSandbox {
            id: format!("id-{name}"),
            name: name.to_owned(),
            ips: vec!["10.0.0.7".to_owned(), "nonsense".to_owned()],
            linux: Some(LinuxPodSandbox { namespaces: vec![ipc, netns] }),
            ..PodSandbox::default()
        }),
    }
}

fn start(socket: &Path) -> (Arc<Notes>, Arc<Connection>, tokio::task::JoinHandle<()>) {
    let (notes, connection) = (Arc::<Notes>::default(), Arc::<Connection>::default());
    let plugin = Plugin::new(socket.to_owned(), notes.clone(), connection.clone());
    (notes, connection, tokio::spawn(plugin.run()))
}

#[tokio::test]
async fn pods_are_named_run_stopped_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (notes, connection, running) = start(&socket);
    let mut runtime = Runtime::accept(&listener).await;
    runtime.configure().await;
    assert!(!connection.is_synchronized());
    for (name, more) in [("a", true), ("b", false)] {
        let pods = pod(name).pod.into_iter().collect();
        runtime.call("Synchronize", &SynchronizeRequest { pods, more }).await;
        let (_, answer) = runtime.answer().await;
        assert_eq!(SynchronizeResponse::decode(&answer.payload[..]).unwrap().more, more);
    }
    assert!(connection.is_synchronized());
    runtime.call("RunPodSandbox", &pod("web")).await;
    assert_eq!(runtime.answer().await.1, Response::default());
    runtime.call("StopPodSandbox", &pod("web")).await;
    assert_eq!(runtime.answer().await.1, Response::default());
    runtime.call("RemovePodSandbox", &pod("web")).await;
    assert_eq!(runtime.answer().await.1, Response::default());
    assert_eq!(
        *notes.0.lock(),
        ["all a b", "run web Some(\"/var/run/netns/cni-1\") [10.0.0.7]", "stopped id-web", "removed id-web"]
    );
    running.abort();
}

#[tokio::test]
async fn a_pod_that_is_held_holds_up_no_other_call_and_a_refusal_has_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (_, _, running) = start(&socket);
    let mut runtime = Runtime::accept(&listener).await;
    runtime.configure().await;
    let held = runtime.call("RunPodSandbox", &pod("held")).await;
    let refused = runtime.call("RunPodSandbox", &pod("refused")).await;
    let unknown = runtime.call("Dance", &pod("web")).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(runtime.answer().await);
    }
    let of = |call: u32| answers.iter().position(|(stream, _)| *stream == call).unwrap();
    assert_eq!(of(held), 2, "the pod that is held is answered last: {answers:?}");
    assert_eq!(answers[of(held)].1, Response::default());
    let reason = &answers[of(refused)].1.status.as_ref().unwrap().message;
    assert!(reason.starts_with("not yet") && reason.len() == 1_000, "{reason}");
    assert_eq!(answers[of(unknown)].1.status.as_ref().unwrap().code, 12);
    running.abort();
}

#[tokio::test]
async fn a_runtime_that_restarts_is_connected_to_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nri.sock");
    let (_, connection, running) = start(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    for round in 0..2 {
        let mut runtime = Runtime::accept(&listener).await;
        runtime.configure().await;
        runtime.call("Synchronize", &SynchronizeRequest::default()).await;
        runtime.answer().await;
        assert!(connection.is_synchronized(), "in round {round}");
        // Something that is not NRI is as good as an end.
        runtime.stream.write_all(&[0xff; 8]).await.unwrap();
        let mut rest = Vec::new();
        runtime.stream.read_to_end(&mut rest).await.unwrap();
    }
    let end = std::time::Instant::now() + LIMIT;
    while connection.lost() < 2 {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!connection.is_synchronized());
    running.abort();
}
