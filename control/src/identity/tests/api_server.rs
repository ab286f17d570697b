//! A small HTTP server that answers token reviews as the Kubernetes API does.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the server knows about each token: the `user` of its reviews.
#[derive(Clone, Default)]
pub(super) struct ApiServer(Arc<State>);

#[derive(Default)]
struct State {
    users: Mutex<HashMap<String, Value>>,
    reviews: AtomicUsize,
    down: AtomicBool,
}

impl ApiServer {
    pub(super) async fn start() -> (Self, kube::Client) {
        let server = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let state = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = state.clone();
                let service = service_fn(move |request| {
                    let state = state.clone();
                    async move { Ok::<_, Infallible>(state.answer(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (server, kube::Client::try_from(kube::Config::new(uri)).unwrap())
    }

    /// Has the server accept `token` as one of a pod on a node.
    pub(super) fn knows(&self, token: &str, account: &str, pod: &str, uid: &str, node: Option<&str>) {
        let mut extra = json!({
            "authentication.kubernetes.io/pod-name": [pod],
            "authentication.kubernetes.io/pod-uid": [uid],
        });
        if let Some(node) = node {
            extra["authentication.kubernetes.io/node-name"] = json!([node]);
        }
        let user = json!({ "username": format!("system:serviceaccount:{account}"), "extra": extra });
        self.0.users.lock().insert(token.to_owned(), user);
    }

    /// Has the server accept a token that is bound to no pod.
    pub(super) fn knows_user(&self, token: &str, username: &str) {
        self.0.users.lock().insert(token.to_owned(), json!({ "username": username }));
    }

    pub(super) fn forgets(&self, token: &str) {
        self.0.users.lock().remove(token);
    }

    /// Every request fails while it is down.
    pub(super) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::Relaxed);
    }

    /// How many reviews it has answered.
    pub(super) fn reviews(&self) -> usize {
        self.0.reviews.load(Ordering::Relaxed)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if self.0.down.load(Ordering::Relaxed) {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return response;
        }
        assert_eq!(request.uri().path(), "/apis/authentication.k8s.io/v1/tokenreviews");
        self.0.reviews.fetch_add(1, Ordering::Relaxed);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut review: Value = serde_json::from_slice(&body).unwrap();
        let token = review["spec"]["token"].as_str().unwrap();
        review["status"] = match self.0.users.lock().get(token) {
            Some(user) => {
                json!({ "authenticated": true, "user": user, "audiences": review["spec"]["audiences"] })
            }
            None => json!({ "authenticated": false, "error": "invalid bearer token" }),
        };
        let mut response = Response::new(Full::from(review.to_string()));
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        response
    }
}

/// A token with these claims; only the server knows whether it is genuine.
pub(super) fn token(name: &str, audience: &str, valid_for: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let expires = now.saturating_add_signed(valid_for);
    let claims = json!({ "aud": [audience], "exp": expires, "sub": name });
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
}
