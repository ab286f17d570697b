//! weft-viz against a real Prometheus, which scrapes figures that the tests know, and against broken ones.

#![allow(clippy::unwrap_used, reason = "to panic is how a test fails")]

mod accuracy;
mod beginnings;
mod broken;
mod derived;
mod exporter;
mod grafana;
mod hostile;
mod http;
mod nothing;
mod objects;
mod outage;
mod process;
mod shop;
mod tls;
mod web;
