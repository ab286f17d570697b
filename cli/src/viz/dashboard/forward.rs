//! Forwards connections to a ready pod of the dashboard. If the pod is replaced, later connections go to the next one.

use std::sync::Arc;

use anyhow::{Context, Result};
use kube::Client;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore},
};

use crate::viz::{access::WebPod, notes::say};

/// A browser opens six connections to a host, and one for live calls.
const MAX_CONNECTIONS: usize = 256;

#[derive(Clone)]
pub(super) struct Forward {
    client: Client,
    /// Without a timeout: a connection may be quiet for long.
    streams: Client,
    namespace: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    pod: Option<WebPod>,
    /// Whether the user was told that the dashboard cannot be reached.
    interrupted: bool,
}

impl Forward {
    pub(super) fn new(client: Client, streams: Client, namespace: String) -> Self {
        Self { client, streams, namespace, state: Arc::default() }
    }

    /// Ends only if connections can no longer be accepted.
    pub(super) async fn run(self, listener: TcpListener) -> anyhow::Error {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return anyhow::anyhow!("no connection can be accepted any more");
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => return anyhow::Error::new(error).context("connections cannot be accepted"),
            };
            let forward = self.clone();
            tokio::spawn(async move {
                forward.connection(stream).await;
                drop(slot);
            });
        }
    }

    async fn connection(self, mut local: TcpStream) {
        let mut remote = match self.connect().await {
            Ok(remote) => remote,
            Err(error) => {
                let mut state = self.state.lock().await;
                state.pod = None;
                if !std::mem::replace(&mut state.interrupted, true) {
                    say(&format!(
                        "The dashboard cannot be reached: {error:#}. Trying again with each request."
                    ));
                }
                return;
            }
        };
        let mut state = self.state.lock().await;
        if std::mem::take(&mut state.interrupted) {
            say("The dashboard can be reached again.");
        }
        drop(state);
        // How a connection ends is the business of its ends. A pod that said nothing may be on its way out.
        match copy_bidirectional(&mut local, &mut remote).await {
            Ok((_, received)) if received > 0 => {}
            _ => self.state.lock().await.pod = None,
        }
    }

    /// A connection to the pod that served last, else to another one.
    async fn connect(&self) -> Result<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + use<>> {
        let known = self.state.lock().await.pod.clone();
        if let Some(pod) = known
            && let Ok(stream) = pod.connect(&self.streams).await
        {
            return Ok(stream);
        }
        let pod = WebPod::find(&self.client, &self.namespace).await?;
        let stream = pod.connect(&self.streams).await.context("the pod cannot be reached")?;
        self.state.lock().await.pod = Some(pod);
        Ok(stream)
    }
}
