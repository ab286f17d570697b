//! `/api/tap`: live calls over a WebSocket.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{
        FromRequestParts, RawQuery, Request, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use weft_api::viz::{ErrorCode, Failure, TapMessage, TapQuery};

use super::{answer, security, tap_messages::Waiting};
use crate::api::App;

/// Those who watch the same share a tap.
const MAX_SOCKETS: usize = 128;
/// Browsers do not say who their users are.
const USER: &str = "the dashboard";
/// The longest time between two messages with events.
const FLUSH: Duration = Duration::from_millis(100);
const PING: Duration = Duration::from_secs(15);
/// A client that does not answer within this time is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// The client sends nothing but the answers to pings.
const MAX_MESSAGE: usize = 1024;

#[derive(Clone)]
struct Taps {
    app: Arc<App>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

pub(super) fn router(app: Arc<App>, stop: CancellationToken) -> Router {
    let taps = Taps { app, permits: Arc::new(Semaphore::new(MAX_SOCKETS)), stop };
    Router::new().route("/api/tap", get(open)).with_state(taps)
}

async fn open(State(taps): State<Taps>, RawQuery(query): RawQuery, request: Request) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let response = match security::check_origin(request.headers(), host.as_deref()) {
        Err(failure) => answer::failure(failure),
        Ok(()) => {
            let (mut head, _) = request.into_parts();
            match WebSocketUpgrade::from_request_parts(&mut head, &()).await {
                Err(_) => {
                    let failure = Failure::new(ErrorCode::BadRequest, "/api/tap is a WebSocket.");
                    answer::failure(failure.hint("Open it as ws://HOST/api/tap?…"))
                }
                Ok(upgrade) => {
                    let serve = taps.clone();
                    let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
                    upgrade.on_upgrade(move |socket| Box::pin(serve.serve(socket, query))).into_response()
                }
            }
        }
    };
    taps.app.metrics.answered("tap", response.status().as_u16());
    response
}

impl Taps {
    async fn serve(self, socket: WebSocket, query: Option<String>) {
        let (mut sink, stream) = socket.split();
        let waiting = Waiting::default();
        let heard = parking_lot::Mutex::new(Instant::now());
        let pump = async {
            if let Err(error) = self.pump(query, &waiting).await {
                if error.code == ErrorCode::TooManyTaps {
                    self.app.metrics.taps_refused.inc();
                }
                waiting.add(TapMessage::Error { error });
            }
            // The writer sends what waits, and ends with an error.
            std::future::pending::<()>().await;
        };
        self.app.metrics.taps.inc();
        tokio::select! {
            () = pump => {}
            () = write(&mut sink, &waiting, &heard) => {}
            () = read(stream, &heard) => {}
            () = self.stop.cancelled() => {
                let _ = tokio::time::timeout(FLUSH, close(&mut sink, close_code::AWAY, "shutting down")).await;
            }
        }
        self.app.metrics.taps.dec();
    }

    /// Receives the messages of the tap.
    async fn pump(&self, query: Option<String>, waiting: &Waiting) -> Result<(), Failure> {
        let _permit: OwnedSemaphorePermit = self.permits.clone().try_acquire_owned().map_err(|_| {
            Failure::new(
                ErrorCode::TooManyTaps,
                format!("{MAX_SOCKETS} live views are open, which is the limit."),
            )
            .hint("Close another one.")
        })?;
        let query: TapQuery = crate::api::parse_query(query.as_deref().unwrap_or_default())?;
        let mut messages = self.app.taps.open(USER, query).await?;
        while let Some(message) = messages.next().await {
            waiting.add(message);
        }
        Err(Failure::new(ErrorCode::Internal, "The tap ended.").hint("Open it again."))
    }
}

/// Sends what waits, and pings. Returns after an error, or when the client is gone.
async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    waiting: &Waiting,
    heard: &parking_lot::Mutex<Instant>,
) {
    let mut flush = tokio::time::interval(FLUSH);
    flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pinged = Instant::now();
    loop {
        flush.tick().await;
        if heard.lock().elapsed() > SILENCE {
            return;
        }
        let messages = waiting.take();
        for message in messages {
            let Ok(text) = serde_json::to_string(&message) else { return };
            if !sent(sink, Message::text(text)).await {
                return;
            }
            if let TapMessage::Error { error } = message {
                let code = match error.code {
                    ErrorCode::Forbidden | ErrorCode::BadRequest => close_code::POLICY,
                    _ => close_code::ERROR,
                };
                close(sink, code, error.code.parts().0).await;
                return;
            }
        }
        if pinged.elapsed() >= PING {
            pinged = Instant::now();
            if !sent(sink, Message::Ping(bytes::Bytes::new())).await {
                return;
            }
        }
    }
}

/// Notes that the client is there, until it closes the connection.
async fn read(mut stream: SplitStream<WebSocket>, heard: &parking_lot::Mutex<Instant>) {
    while let Some(Ok(message)) = stream.next().await {
        if matches!(message, Message::Close(_)) {
            return;
        }
        *heard.lock() = Instant::now();
    }
}

async fn sent(sink: &mut SplitSink<WebSocket, Message>, message: Message) -> bool {
    matches!(tokio::time::timeout(SILENCE, sink.send(message)).await, Ok(Ok(())))
}

async fn close(sink: &mut SplitSink<WebSocket, Message>, code: u16, reason: &str) {
    let frame = CloseFrame { code, reason: reason.to_owned().into() };
    let _ = sent(sink, Message::Close(Some(frame))).await;
}
