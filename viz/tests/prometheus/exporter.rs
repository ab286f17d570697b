//! Stands for the admin server of a node's proxy: its figures are those that a test sets.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;

use crate::http::{Server, answer};

#[derive(Default)]
struct Pages {
    metrics: String,
    config: String,
    worst: String,
}

pub(crate) struct Exporter {
    pages: Arc<Mutex<Pages>>,
    server: Server,
}

impl Exporter {
    pub(crate) fn start() -> Self {
        let pages =
            Arc::new(Mutex::new(Pages { config: "{}".into(), worst: "[]".into(), ..Pages::default() }));
        let served = pages.clone();
        let server = Server::start(move |path| {
            let pages = served.lock();
            match path {
                "/metrics" => answer("200 OK", "text/plain; version=0.0.4", &pages.metrics),
                "/config" => answer("200 OK", "application/json", &pages.config),
                "/http/worst.json" => answer("200 OK", "application/json", &pages.worst),
                _ => answer("404 Not Found", "text/plain", "no"),
            }
        });
        Self { pages, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn set_metrics(&self, text: String) {
        self.pages.lock().metrics = text;
    }

    pub(crate) fn set_config(&self, text: &str) {
        self.pages.lock().config = text.to_owned();
    }

    pub(crate) fn set_worst(&self, text: &str) {
        self.pages.lock().worst = text.to_owned();
    }
}
