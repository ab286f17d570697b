//! One connection to the runtime: registers the plugin and answers the runtime's calls.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prost::Message as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::{debug, info};

use super::{
    frame::{Decoder, FrameError, Message, PLUGIN_SERVICE, REQUEST, RESPONSE, RUNTIME_SERVICE},
    messages::{
        ConfigureRequest, ConfigureResponse, PodRequest, RegisterPluginRequest, Request, Response, Status,
        SynchronizeRequest, SynchronizeResponse,
    },
    sandbox::{PodEvents, Sandbox},
};

const PLUGIN: &str = "nri.pkg.api.v1alpha1.Plugin";
const RUNTIME: &str = "nri.pkg.api.v1alpha1.Runtime";
/// Plugins are called in the order of their indices. weft changes nothing that others see.
const INDEX: &str = "50";
const NAME: &str = "weft-proxy";
/// `RUN_POD_SANDBOX`, `STOP_POD_SANDBOX` and `REMOVE_POD_SANDBOX` as bits of `ConfigureResponse.events`.
const EVENTS: i32 = 0b111;
/// The runtime's limit for a plugin's answer if a call does not say (`DefaultPluginRequestTimeout`).
const DEFAULT_LIMIT: Duration = Duration::from_secs(2);
/// The runtime closes the connection to a plugin that answers too late.
const PART_OF_LIMIT: u32 = 2;
/// Registration and configuration together.
const REGISTRATION_LIMIT: Duration = Duration::from_secs(5);
/// Calls that are answered at a time: the runtime makes one after the other.
const MAX_CALLS: usize = 64;
const MAX_REASON: usize = 1_000;
/// Sandboxes that are kept while the runtime names them in parts.
const MAX_SANDBOXES: usize = 10_000;

// https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
const UNIMPLEMENTED: i32 = 12;
const INVALID_ARGUMENT: i32 = 3;
const UNAVAILABLE: i32 = 14;

/// Why a connection to the runtime has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the runtime sent what is not NRI: {0}")]
    Frame(#[from] FrameError),
    #[error("the runtime sent what is not NRI: {0}")]
    Message(#[from] prost::DecodeError),
    #[error("the runtime refused the plugin: {0}")]
    Refused(String),
    #[error("the runtime did not accept the plugin within {REGISTRATION_LIMIT:?}")]
    TooSlow,
    #[error("the runtime closed the connection")]
    Closed,
    #[error("the runtime makes more than {MAX_CALLS} calls at a time")]
    TooManyCalls,
}

/// Serves until the connection ends. Sets `synchronized` when the runtime has named all pods.
pub(super) async fn serve<P: PodEvents>(
    mut stream: UnixStream,
    pods: Arc<P>,
    synchronized: &AtomicBool,
) -> SessionError {
    match run(&mut stream, &pods, synchronized).await {
        Ok(()) => SessionError::Closed,
        Err(error) => error,
    }
}

async fn run<P: PodEvents>(
    stream: &mut UnixStream,
    pods: &Arc<P>,
    synchronized: &AtomicBool,
) -> Result<(), SessionError> {
    stream.write_all(&registration()?).await?;
    let deadline = Instant::now() + REGISTRATION_LIMIT;
    let mut decoder = Decoder::default();
    let mut calls = JoinSet::new();
    let mut named = Vec::new();
    let mut configured = false;
    loop {
        while let Some(message) = decoder.next()? {
            match (message.connection, message.kind) {
                (RUNTIME_SERVICE, RESPONSE) => registered(&message.payload)?,
                (PLUGIN_SERVICE, REQUEST) => {
                    let request = Request::decode(&message.payload[..])?;
                    let limit = limit(&request) / PART_OF_LIMIT;
                    match immediate(&request, pods, &mut named, synchronized) {
                        Some(answer) => {
                            configured |= request.method == "Configure";
                            stream.write_all(&response(message.stream, answer)?).await?;
                        }
                        // What takes time must not hold up other calls.
                        None if calls.len() >= MAX_CALLS => return Err(SessionError::TooManyCalls),
                        None => {
                            let pods = pods.clone();
                            calls.spawn(async move {
                                (message.stream, run_pod(&request.payload, &*pods, limit).await)
                            });
                        }
                    }
                }
                _ => debug!(kind = message.kind, "the container runtime sent a message that is not used"),
            }
        }
        tokio::select! {
            read = stream.read_buf(decoder.buffer()) => if read? == 0 { return Ok(()) },
            Some(done) = calls.join_next() => match done {
                Ok((id, answer)) => stream.write_all(&response(id, answer)?).await?,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            },
            () = tokio::time::sleep_until(deadline), if !configured => return Err(SessionError::TooSlow),
        }
    }
}

fn registration() -> Result<Vec<u8>, FrameError> {
    let register = RegisterPluginRequest { plugin_name: NAME.to_owned(), plugin_idx: INDEX.to_owned() };
    let request = Request {
        service: RUNTIME.to_owned(),
        method: "RegisterPlugin".to_owned(),
        payload: register.encode_to_vec(),
        timeout_nano: i64::try_from(REGISTRATION_LIMIT.as_nanos()).unwrap_or(0),
    };
    Message { connection: RUNTIME_SERVICE, stream: 1, kind: REQUEST, payload: request.encode_to_vec() }
        .encode()
}

fn registered(payload: &[u8]) -> Result<(), SessionError> {
    match Response::decode(payload)?.status {
        Some(status) if status.code != 0 => Err(SessionError::Refused(status.message)),
        _ => Ok(()),
    }
}

type Answer = Result<Vec<u8>, Status>;

/// The answer to a call that needs no waiting; `None` for `RunPodSandbox`.
fn immediate<P: PodEvents>(
    request: &Request,
    pods: &Arc<P>,
    named: &mut Vec<Sandbox>,
    synchronized: &AtomicBool,
) -> Option<Answer> {
    if request.service != PLUGIN {
        return Some(Err(unimplemented(request)));
    }
    let payload = &request.payload[..];
    Some(match request.method.as_str() {
        "RunPodSandbox" => return None,
        "Configure" => decoded(payload).map(|runtime: ConfigureRequest| {
            info!(
                runtime = runtime.runtime_name,
                version = runtime.runtime_version,
                "the container runtime tells of pods before they start (NRI)"
            );
            ConfigureResponse { events: EVENTS }.encode_to_vec()
        }),
        "Synchronize" => decoded(payload).map(|part: SynchronizeRequest| {
            let room = MAX_SANDBOXES.saturating_sub(named.len());
            named.extend(part.pods.into_iter().take(room).map(Sandbox::from));
            if !part.more {
                pods.synchronize(std::mem::take(named));
                synchronized.store(true, Ordering::Release);
            }
            SynchronizeResponse { more: part.more }.encode_to_vec()
        }),
        "RemovePodSandbox" => decoded(payload).map(|request: PodRequest| {
            pods.removed(&request.pod.unwrap_or_default().id);
            Vec::new()
        }),
        "StopPodSandbox" => decoded(payload).map(|request: PodRequest| {
            pods.stopped(&request.pod.unwrap_or_default().id);
            Vec::new()
        }),
        "Shutdown" => Ok(Vec::new()),
        _ => Err(unimplemented(request)),
    })
}

async fn run_pod<P: PodEvents>(payload: &[u8], pods: &P, limit: Duration) -> Answer {
    let request: PodRequest = decoded(payload)?;
    let sandbox = Sandbox::from(request.pod.unwrap_or_default());
    // `run` keeps to the limit by itself; whatever happens, the runtime must get an answer.
    match timeout_at(Instant::now() + limit + limit / 2, pods.run(sandbox, limit)).await {
        Ok(Err(reason)) => Err(status(UNAVAILABLE, &reason)),
        Ok(Ok(())) | Err(_) => Ok(Vec::new()),
    }
}

fn limit(request: &Request) -> Duration {
    match u64::try_from(request.timeout_nano) {
        Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos).min(DEFAULT_LIMIT),
        _ => DEFAULT_LIMIT,
    }
}

fn decoded<M: prost::Message + Default>(payload: &[u8]) -> Result<M, Status> {
    M::decode(payload).map_err(|error| status(INVALID_ARGUMENT, &error.to_string()))
}

fn unimplemented(request: &Request) -> Status {
    status(UNIMPLEMENTED, &format!("weft-proxy does not answer {}/{}", request.service, request.method))
}

fn status(code: i32, message: &str) -> Status {
    Status { code, message: message.chars().take(MAX_REASON).collect() }
}

fn response(stream: u32, answer: Answer) -> Result<Vec<u8>, FrameError> {
    let response = match answer {
        Ok(payload) => Response { status: None, payload },
        Err(status) => Response { status: Some(status), payload: Vec::new() },
    };
    Message { connection: PLUGIN_SERVICE, stream, kind: RESPONSE, payload: response.encode_to_vec() }.encode()
}
