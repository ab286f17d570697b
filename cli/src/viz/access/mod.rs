//! Reaches weft-viz: in a cluster by port forwarding, on a dev VM directly.

mod cluster;
mod context;
mod error;
mod request;
mod tap;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use kube::Client;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, sync::Mutex};
use weft_api::viz::Answer;

pub(crate) use self::{
    cluster::WebPod,
    context::VmContext,
    error::{VizError, printable},
};
use super::options::VizOptions;
use crate::{
    global::Global,
    kubernetes::{connect, connect_for_streams, names_a_cluster},
};

/// weft-viz gives up after 10 s, and `check` after 30 s.
const TIMEOUT: Duration = Duration::from_secs(45);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A way to weft-viz.
pub(crate) struct Viz {
    pub(crate) route: Route,
    /// The namespace of what a command is about, if it names none.
    pub(crate) namespace: String,
    /// The namespace was chosen with -n.
    is_chosen: bool,
    /// The connection that the last request left.
    idle: Mutex<Option<request::Sender>>,
}

/// Where weft-viz runs.
pub(crate) enum Route {
    Cluster {
        client: Client,
        streams: Client,
        viz_namespace: String,
    },
    Vm(VmContext),
    /// At an address that the user gave.
    Direct(String),
}

/// Whether commands are about a dev VM.
pub(crate) fn on_vm(global: &Global, options: &VizOptions) -> bool {
    options.vm.is_some()
        || (options.api_addr.is_none() && !names_a_cluster(global) && VmContext::only().is_some())
}

/// The name of the dev VM that runs, if there is no cluster.
pub(crate) fn vm_instead_of_cluster(global: &Global) -> Option<String> {
    if names_a_cluster(global) { None } else { VmContext::only().map(|context| context.name) }
}

impl Route {
    /// The one that the options choose. In a cluster, weft-viz has not been looked for yet.
    pub(crate) async fn choose(global: &Global, options: &VizOptions) -> Result<Self> {
        if let Some(address) = &options.api_addr {
            if options.vm.is_some() {
                bail!("--api-addr and --vm (or $WEFT_VM) name two ways to weft-viz: leave one out");
            }
            return Ok(Self::Direct(address.clone()));
        }
        let vm = match options.vm.as_deref() {
            Some(name) => Some(VmContext::named(name)?),
            None if on_vm(global, options) => VmContext::only(),
            None => None,
        };
        match vm {
            Some(context) => Ok(Self::Vm(context)),
            None => Ok(Self::Cluster {
                client: connect(global).await?,
                streams: connect_for_streams(global).await?,
                viz_namespace: options.viz_namespace.clone(),
            }),
        }
    }

    fn default_namespace(&self) -> &str {
        match self {
            Self::Cluster { client, .. } => client.default_namespace(),
            Self::Vm(_) | Self::Direct(_) => "default",
        }
    }
}

impl Viz {
    pub(crate) async fn connect(global: &Global, options: &VizOptions) -> Result<Self> {
        let route = Route::choose(global, options).await?;
        let namespace = global.namespace.clone().unwrap_or_else(|| route.default_namespace().to_owned());
        Ok(Self { route, namespace, is_chosen: global.namespace.is_some(), idle: Mutex::new(None) })
    }

    /// The answer to a call of the API, such as `/api/edges`.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer<T>> {
        let mut path = path.to_owned();
        if !query.is_empty() {
            path.push('?');
            path.push_str(
                &form_urlencoded::Serializer::new(String::new()).extend_pairs(query.iter()).finish(),
            );
        }
        let (status, body) = self.fetch(&path).await?;
        if !status.is_success() {
            return Err(self.explained(VizError::read(status, &body)).into());
        }
        serde_json::from_slice(&body).with_context(|| {
            format!(
                "the answer to {path} cannot be read: weft-viz and this tool may be of different versions"
            )
        })
    }

    /// An error of weft-viz, with what only this tool knows.
    fn explained(&self, error: VizError) -> VizError {
        if self.is_chosen { error } else { error.in_default_namespace(&self.namespace) }
    }

    async fn fetch(&self, path: &str) -> Result<(http::StatusCode, hyper::body::Bytes)> {
        let mut idle = self.idle.lock().await;
        let kept = idle.take();
        let reused = kept.is_some();
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.open().await?,
        };
        let mut first = self.send(&mut sender, path).await;
        if first.is_err() && reused {
            // The server may have closed the connection meanwhile.
            sender = self.open().await?;
            first = self.send(&mut sender, path).await;
        }
        let answer = first?;
        *idle = Some(sender);
        Ok(answer)
    }

    async fn send(
        &self,
        sender: &mut request::Sender,
        path: &str,
    ) -> Result<(http::StatusCode, hyper::body::Bytes)> {
        let host = match &self.route {
            Route::Cluster { .. } => "localhost".to_owned(),
            Route::Vm(context) => request::host_of(&context.web_url)?,
            Route::Direct(address) => address.clone(),
        };
        sender.ready().await.context("the connection to weft-viz broke off")?;
        let response =
            tokio::time::timeout(TIMEOUT, sender.send_request(request::request(&host, path, None)?))
                .await
                .map_err(|_| anyhow!("weft-viz did not answer within {} s", TIMEOUT.as_secs()))?
                .context("weft-viz did not answer")?;
        request::whole(response, TIMEOUT).await
    }

    async fn open(&self) -> Result<request::Sender> {
        let open = async {
            match &self.route {
                Route::Cluster { client, viz_namespace, streams } => {
                    let pod = WebPod::find(client, viz_namespace).await?;
                    request::begin(pod.connect(streams).await?).await
                }
                Route::Vm(context) => request::begin(dial(&context.name, &context.web_url).await?).await,
                Route::Direct(address) => {
                    let stream = TcpStream::connect(address).await;
                    let stream =
                        stream.with_context(|| format!("nothing answers at {address} (--api-addr)"))?;
                    request::begin(stream).await
                }
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, open)
            .await
            .map_err(|_| anyhow!("weft-viz could not be reached within {} s", CONNECT_TIMEOUT.as_secs()))?
    }
}

/// A connection to a server of a dev VM.
async fn dial(name: &str, url: &str) -> Result<TcpStream> {
    let host = request::host_of(url)?;
    TcpStream::connect(&host).await.with_context(|| {
        format!("the dev VM {name} does not answer at {host} (does `cargo xtask run` still run?)")
    })
}
