//! `weft viz dashboard`: makes the dashboard reachable on this machine, and opens the browser.

mod forward;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use kube::Client;
use tokio::{net::TcpListener, time::Instant};
use weft_api::viz::{Grafana, VersionInfo};

use super::{
    access::{Route, Viz, WebPod},
    notes::say,
    options::VizOptions,
};
use crate::{
    check::duration,
    global::Global,
    terminal::{Spinner, print},
};

/// Make the dashboard reachable on this machine, and open it in the browser
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # Until Ctrl-C
  weft viz dashboard

  # Only print its address
  weft viz dashboard --show url

  # On a port of your choice
  weft viz dashboard -p 8080

The dashboard is forwarded through the API server, as `kubectl port-forward` does it; nobody else reaches it. docs/viz.md
says how to put it behind an Ingress.")]
pub(crate) struct DashboardArgs {
    /// The address of this machine at which it is reachable
    #[arg(long, value_name = "ADDRESS", default_value = "localhost")]
    address: String,
    /// The port at which it is reachable; 0: any. Without this option it is 50750, or any if that is in use
    #[arg(short, long, value_name = "PORT", value_parser = port)]
    port: Option<u16>,
    /// What to open: the dashboard, Grafana, or nothing (only print the address)
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    show: Show,
    /// How long to wait until the dashboard runs, as in 300s or 5m
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = duration)]
    wait: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Show {
    #[default]
    #[value(alias = "linkerd")]
    Weft,
    Grafana,
    Url,
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "write a number between 0 and 65535".to_owned())
}

const PORT: u16 = 50750;
const RETRY: Duration = Duration::from_secs(2);

pub(super) async fn dashboard(global: &Global, options: &VizOptions, args: &DashboardArgs) -> Result<()> {
    let viz = Viz::connect(global, options).await?;
    let (client, streams, namespace) = match &viz.route {
        Route::Vm(context) => {
            let grafana = grafana(&viz, args).await?;
            let url = context.web_url.trim_end_matches('/').to_owned();
            announce(&url, grafana.as_ref(), args)?;
            return Ok(());
        }
        Route::Direct(address) => {
            let grafana = grafana(&viz, args).await?;
            announce(&format!("http://{address}"), grafana.as_ref(), args)?;
            return Ok(());
        }
        Route::Cluster { client, streams, viz_namespace } => (client, streams, viz_namespace),
    };
    // Nothing is announced that does not work.
    wait_for_pod(client, namespace, args.wait).await?;
    let grafana = grafana(&viz, args).await?;
    let listener = listen(args).await?;
    let port = listener.local_addr().context("the port that was opened is not known")?.port();
    let url = format!("http://{}:{port}", bracketed(&args.address));
    let forward = forward::Forward::new(client.clone(), streams.clone(), namespace.clone());
    announce(&url, grafana.as_ref(), args)?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => Ok(result?),
        error = forward.run(listener) => Err(error),
    }
}

async fn wait_for_pod(client: &Client, namespace: &str, wait: Duration) -> Result<()> {
    let deadline = Instant::now() + wait;
    let spinner = Spinner::new();
    loop {
        match WebPod::find(client, namespace).await {
            Ok(_) => break,
            Err(error) if Instant::now() + RETRY > deadline => {
                spinner.clear();
                return Err(error);
            }
            Err(error) => {
                let text = format!("{error:#}");
                spinner.say(text.lines().next().unwrap_or_default().to_owned());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            result = tokio::signal::ctrl_c() => {
                result?;
                spinner.clear();
                bail!("the dashboard did not run before Ctrl-C; `weft viz check` tells why");
            }
        }
    }
    spinner.clear();
    Ok(())
}

/// Where Grafana is, if it is to be shown.
async fn grafana(viz: &Viz, args: &DashboardArgs) -> Result<Option<Grafana>> {
    let version = viz.get::<VersionInfo>("/api/version", &[]).await?.data;
    match (args.show, version.grafana) {
        (Show::Grafana, None) => bail!(
            "weft-viz knows no Grafana; set grafana.externalUrl when you install it (docs/viz.md, \"Grafana\")"
        ),
        (_, grafana) => Ok(grafana),
    }
}

async fn listen(args: &DashboardArgs) -> Result<TcpListener> {
    let port = args.port.unwrap_or(PORT);
    match (TcpListener::bind((args.address.as_str(), port)).await, args.port) {
        (Ok(listener), _) => Ok(listener),
        (Err(error), None) if error.kind() == std::io::ErrorKind::AddrInUse => {
            TcpListener::bind((args.address.as_str(), 0)).await.context("no port can be opened")
        }
        (Err(error), _) => Err(anyhow!(
            "cannot listen on {}:{port}: {error}; choose another address or port with --address and -p",
            args.address
        )),
    }
}

/// Prints the addresses, and opens the browser.
fn announce(url: &str, grafana: Option<&Grafana>, args: &DashboardArgs) -> Result<()> {
    // Grafana behind the dashboard has an address without a host.
    let grafana = grafana.map(|grafana| match grafana.url.starts_with('/') {
        true => format!("{url}{}", grafana.url),
        false => grafana.url.clone(),
    });
    print(&format!("weft's dashboard is available at:\n{url}\n"))?;
    if let Some(grafana) = &grafana {
        print(&format!("Grafana is available at:\n{grafana}\n"))?;
    }
    let open = match args.show {
        Show::Url => return Ok(()),
        Show::Weft => url,
        Show::Grafana => grafana.as_deref().unwrap_or(url),
    };
    print("Opening it in the browser\n")?;
    if let Err(error) = open::that_detached(open) {
        say(&format!("The browser could not be opened ({error}); visit {open} yourself."));
    }
    Ok(())
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}
