//! Changes endpoints through the API server, and sees when the streams of the nodes tell of it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use kube::Client;
use tokio::task::JoinSet;

use crate::{
    control::Control,
    nodes::Nodes,
    objects::{Scale, set_ready},
};

const CHANGES: usize = 50;
const BETWEEN: Duration = Duration::from_millis(100);
const PER_SECOND: usize = 100;
const SECONDS: usize = 10;
/// After this long without a message, none comes.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Changes {
    client: Client,
    scale: Scale,
    nodes: Nodes,
    /// Whether the first endpoint of each service is ready.
    ready: Vec<bool>,
}

/// The times from the request to the API server until the last stream of a changed service had the change.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) median: Duration,
    pub(crate) slowest: Duration,
    pub(crate) subscribers: usize,
}

/// Under many changes a second.
#[derive(Debug)]
pub(crate) struct Busy {
    /// Processor time of weft-control by time.
    pub(crate) cores: f64,
    pub(crate) per_second: f64,
    pub(crate) median: Duration,
    pub(crate) messages: usize,
    pub(crate) missing: usize,
}

impl Changes {
    pub(crate) fn new(client: Client, scale: Scale, nodes: Nodes) -> Self {
        Self { client, scale, nodes, ready: vec![true; scale.services] }
    }

    pub(crate) fn streams(&self) -> usize {
        self.nodes.streams()
    }

    /// Makes all endpoints ready again, as they were.
    pub(crate) async fn undo(self) -> Result<()> {
        for service in (0..self.scale.services).filter(|service| !self.ready[*service]) {
            set_ready(&self.client, service, true).await?;
        }
        Ok(())
    }

    /// Changes the service that all nodes follow.
    pub(crate) async fn one_by_one(&mut self) -> Result<Single> {
        let subscribers = self.nodes.subscribers(0);
        let mut times = Vec::new();
        for _ in 0..CHANGES {
            self.ready[0] = !self.ready[0];
            let begun = Instant::now();
            let change = tokio::spawn({
                let (client, ready) = (self.client.clone(), self.ready[0]);
                async move { set_ready(&client, 0, ready).await }
            });
            let mut last = begun;
            for _ in 0..subscribers {
                let Some(received) = self.nodes.next(PATIENCE).await? else {
                    bail!("a stream misses a change")
                };
                last = last.max(received.at);
            }
            change.await??;
            times.push(last - begun);
            tokio::time::sleep(BETWEEN).await;
        }
        times.sort();
        let slowest = times.last().copied().unwrap_or_default();
        Ok(Single { median: times[times.len() / 2], slowest, subscribers })
    }

    /// Changes all services in turn.
    pub(crate) async fn at_a_rate(&mut self, control: &Control) -> Result<Busy> {
        let total = PER_SECOND * SECONDS;
        let (mut requests, mut pending) = (JoinSet::new(), HashMap::new());
        let (mut times, mut expected, mut messages) = (Vec::new(), 0, 0);
        let mut interval = tokio::time::interval(Duration::from_secs(1) / PER_SECOND as u32);
        let (begun, cpu) = (Instant::now(), control.cpu()?);
        let mut sent = 0;
        let mut took = Duration::ZERO;
        let mut used = 0.0;
        loop {
            tokio::select! {
                _ = interval.tick(), if sent < total => {
                    let service = sent % self.scale.services;
                    sent += 1;
                    self.ready[service] = !self.ready[service];
                    let subscribers = self.nodes.subscribers(service);
                    expected += subscribers;
                    pending.insert(service, (Instant::now(), subscribers));
                    let (client, ready) = (self.client.clone(), self.ready[service]);
                    requests.spawn(async move { set_ready(&client, service, ready).await });
                    if sent == total {
                        took = begun.elapsed();
                        used = control.cpu()? - cpu;
                    }
                }
                received = self.nodes.next(PATIENCE) => {
                    let Some(received) = received? else { break };
                    messages += 1;
                    if let Some((at, missing)) = pending.get_mut(&received.service) {
                        *missing = missing.saturating_sub(1);
                        if *missing == 0 {
                            times.push(received.at - *at);
                            pending.remove(&received.service);
                        }
                    }
                    if sent == total && messages >= expected {
                        break;
                    }
                }
            }
        }
        while let Some(done) = requests.join_next().await {
            done??;
        }
        times.sort();
        let Some(median) = times.get(times.len() / 2).copied() else {
            bail!("no change has arrived everywhere")
        };
        let (seconds, missing) = (took.as_secs_f64(), expected.saturating_sub(messages));
        Ok(Busy { cores: used / seconds, per_second: total as f64 / seconds, median, messages, missing })
    }
}
