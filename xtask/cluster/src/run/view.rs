//! The live tables: workloads with their success rates, what fails, and who talks to whom.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use weft_vm::{
    Screen,
    traffic::{self, Pods},
};

use super::{
    api::{Api, Pages, State, of_the_mesh},
    proof::prove,
};
use crate::{say::say, wait};

const REDRAW_INTERVAL: Duration = Duration::from_secs(1);
/// How often pods are listed.
const STATE_INTERVAL: Duration = Duration::from_secs(5);
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);
const ONCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Rates need some.
const READINGS: usize = 4;

pub(super) struct View {
    api: Api,
    header: String,
    state: State,
    listed: Option<Instant>,
    window: traffic::Window,
    screen: Screen,
}

impl View {
    pub(super) fn new(api: Api, header: String) -> Self {
        let screen = Screen::new(&format!("\n{header}\n"));
        Self {
            api,
            header,
            state: State::default(),
            listed: None,
            window: traffic::Window::default(),
            screen,
        }
    }

    pub(super) fn until_signal(&mut self) -> Result<ExitCode> {
        while pause(REDRAW_INTERVAL) {
            let pages = self.read();
            let (header, text) = (self.header.clone(), self.tables(&pages));
            self.screen.draw(|| header, || text);
        }
        self.screen.event("stopping …");
        Ok(ExitCode::SUCCESS)
    }

    /// Waits for the proof, prints the tables and what is proven.
    pub(super) fn once(&mut self, begun: Instant) -> Result<ExitCode> {
        for reading in 1.. {
            wait::check()?;
            let pages = self.read();
            let proof = prove(&pages, &self.state.pods);
            let proven = proof.missing.is_empty() && reading >= READINGS;
            if !proven && begun.elapsed() < ONCE_TIMEOUT {
                pause(REDRAW_INTERVAL);
                continue;
            }
            say(format_args!("{}", self.tables(&pages)));
            proof.found.iter().for_each(|line| say(format_args!("proven: {line}")));
            if proven {
                return Ok(ExitCode::SUCCESS);
            }
            let seconds = ONCE_TIMEOUT.as_secs();
            proof.missing.iter().for_each(|line| say(format_args!("not proven after {seconds} s: {line}")));
            break;
        }
        Ok(ExitCode::FAILURE)
    }

    /// What the proxies say now. The pods are those of some seconds ago.
    fn read(&mut self) -> Pages {
        if self.listed.is_none_or(|listed| listed.elapsed() >= STATE_INTERVAL) {
            self.listed = Some(Instant::now());
            match self.api.state() {
                Ok(state) => self.state = state,
                Err(error) => self.screen.event(&format!("the API server: {error:#}")),
            }
        }
        let pages = self.api.pages(&self.state.nodes);
        self.window.add(Instant::now(), &pages.metrics);
        pages
    }

    fn tables(&self, pages: &Pages) -> String {
        let shown: Pods = of_the_mesh(&self.state.pods, &pages.served);
        let stats = traffic::render_stats(&self.window.stats(&shown, &pages.served));
        let worst = traffic::render_worst(&traffic::worst(&pages.calls, &self.window, &shown));
        // Destinations may be anywhere.
        let edges = traffic::render(&traffic::rows(&pages.metrics, &self.state.pods));
        let tables = [stats, worst, edges];
        tables.iter().filter(|table| !table.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Whether the time passed without a signal.
fn pause(time: Duration) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if wait::check().is_err() {
            return false;
        }
        thread::sleep(SIGNAL_INTERVAL);
    }
    wait::check().is_ok()
}
