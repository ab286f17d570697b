//! Pods that fail open, while their proxy is dead or hangs: traffic goes on directly.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends,
    load::{Steady, Style},
    mesh::{Mesh, Pod},
    suite::Area,
    wait,
};

use super::request;

pub(super) fn scenarios(area: Area) -> Area {
    area.scenario(
        "fail_open_under_load",
        "While a node's proxy is dead, traffic from and to its pods that fail open goes on, also from meshed \
         clients of other nodes, and is encrypted again afterwards; only connections that were open at the time \
         fail.",
        under_load,
    )
    .scenario(
        "hung_proxy_fails_open",
        "A proxy that hangs counts as dead: its pods that fail open are reached directly until it continues.",
        hung,
    )
}

const CLIENTS: usize = 4;

/// New connections from two clients to several targets.
struct Loads(Vec<(String, Steady)>);

impl Loads {
    fn start(mesh: &Mesh) -> Self {
        let (service, far) = (mesh.service("open-server").at(80), mesh.pod("open-server"));
        let near = mesh.service("open-near").at(80);
        let ways = [
            ("open-client", "the service", service),
            ("open-client", "the pod itself", far.at6(8080)),
            ("open-client", "the neighbour", near),
            ("open-client", "the unmeshed pod", mesh.pod("plain-server").at(8080)),
            ("plain-client", "the service", service),
            ("plain-client", "the pod itself", far.at6(8080)),
        ];
        let start = |(client, to, target)| {
            let pod: Pod = mesh.pod(client);
            let load = Steady::start(pod.netns(), target, Style::Fresh, CLIENTS, Duration::from_millis(10));
            (format!("{client} to {to}"), load)
        };
        Self(ways.map(start).into())
    }

    fn keep_on(&self, more: u64) -> Result<()> {
        self.0.iter().try_for_each(|(way, load)| load.keep_on(more).with_context(|| way.clone()))
    }

    /// Stops the clients; each may have failed `forgiven` times.
    fn stop(self, forgiven: u64) -> Result<()> {
        for (way, load) in self.0 {
            let met = load.stop();
            let failed: u64 = met.failures.values().sum();
            ensure!(failed <= forgiven * CLIENTS as u64, "{way}: {met:?}");
        }
        Ok(())
    }
}

/// Waits until node `b` accepts encrypted connections to the open server again.
fn until_secured(mesh: &Mesh) -> Result<()> {
    let proxy = mesh.proxy("b").watch()?;
    let secured = [("direction", "inbound"), ("pod", "open-server"), ("tls", "true")];
    wait::until("connections are encrypted again", || {
        proxy.now().is_ok_and(|now| now.value("tcp_open_total", &secured) > 0.0)
    })
}

fn under_load(mesh: &Mesh) -> Result<()> {
    let _servers = [
        mesh.pod("open-server").serve(8080, backends::echo())?,
        mesh.pod("open-near").serve(8080, backends::echo())?,
        mesh.pod("plain-server").serve(8080, backends::echo())?,
    ];
    // First the destination's proxy is dead, then the source's.
    for node in ["b", "a"] {
        let during = Loads::start(mesh);
        during.keep_on(50)?;
        mesh.proxy(node).kill()?;
        during.keep_on(100).with_context(|| format!("the proxy of {node} is dead"))?;
        let after = Loads::start(mesh);
        after.keep_on(50)?;
        // Connections that were open ended with the proxy.
        during.stop(1).with_context(|| format!("when the proxy of {node} died"))?;

        mesh.proxy(node).revive()?;
        mesh.until_enrolled()?;
        until_secured(mesh)?;
        after.keep_on(50)?;
        after
            .stop(0)
            .with_context(|| format!("while the proxy of {node} was dead, and when it came back"))?;
    }
    Ok(())
}

fn hung(mesh: &Mesh) -> Result<()> {
    let _server = mesh.pod("open-server").serve(8080, backends::echo())?;
    let target = mesh.pod("open-server").at(8080);
    request(mesh, "open-client", target)?;
    mesh.proxy("b").pause()?;
    wait::until_ok("the pod is announced as unmeshed", || {
        ensure!(mesh.announced(&[target])? == [None]);
        Ok(())
    })?;
    let loads = ["open-client", "plain-client"].map(|client| {
        Steady::start(mesh.pod(client).netns(), target, Style::Fresh, CLIENTS, Duration::from_millis(10))
    });
    loads.iter().try_for_each(|load| load.keep_on(100))?;
    mesh.proxy("b").resume()?;
    mesh.until_enrolled()?;
    until_secured(mesh)?;
    loads.into_iter().try_for_each(|load| load.stop().no_failures())
}
