//! `weft diagnostics endpoints`: the endpoints that weft-control tells the proxies.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde_json::{Value, json};
use tonic::{Code, Status};
use weft_api::linkerd::destination::{
    GetDestination, WeightedAddrSet, destination_client::DestinationClient, update::Update,
};

use crate::{
    control::{Control, ControlFlags, address, endpoint, refused},
    global::Global,
    terminal::{print, table},
};

/// Print the endpoints of services, as a proxy is told them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # The endpoints of a service's port
  weft diagnostics endpoints web-svc.emojivoto.svc.cluster.local:80

  # Everything that a proxy on the node n1 is told about them
  weft diagnostics endpoints web-svc.emojivoto.svc.cluster.local:80 -o json --token '{\"nodeName\":\"n1\"}'")]
pub(super) struct EndpointsArgs {
    /// NAME.NAMESPACE.svc.DOMAIN:PORT
    #[arg(required = true, value_name = "AUTHORITY")]
    authorities: Vec<String>,
    /// table, or json with everything that a proxy is told
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// What a proxy says about its pod, as in '{"nodeName":"n1"}': it decides which endpoints are local
    #[arg(long, value_name = "TOKEN", default_value = "")]
    token: String,
    #[command(flatten)]
    control: ControlFlags,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

/// Large services come in several messages, one after the other, and nothing says which one is the last: after this long
/// without another one, all are there.
const LAST_MESSAGE: Duration = Duration::from_millis(250);
const AUTHORITIES_AT_ONCE: usize = 8;

pub(super) async fn run(global: &Global, client: &Client, args: &EndpointsArgs) -> Result<()> {
    let control = Control::connect(global, client, &args.control).await?;
    let sets = args.authorities.iter().map(|authority| endpoints(&control, authority, &args.token));
    let found: Vec<Vec<Found>> = stream::iter(sets).buffered(AUTHORITIES_AT_ONCE).try_collect().await?;
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    found.sort_by(|a, b| (&a.service, &a.ip, a.port).cmp(&(&b.service, &b.ip, b.port)));
    match args.output {
        Format::Json => {
            let all: Vec<_> = found.iter().map(|found| &found.json).collect();
            print(&format!("{}\n", serde_json::to_string_pretty(&all)?))
        }
        Format::Table if found.is_empty() => print("No endpoints found.\n"),
        Format::Table => {
            let rows = found.into_iter().map(|found| {
                [found.namespace, found.ip.to_string(), found.port.to_string(), found.pod, found.service]
            });
            print(&table(&["NAMESPACE", "IP", "PORT", "POD", "SERVICE"], rows))
        }
    }
}

struct Found {
    namespace: String,
    ip: std::net::IpAddr,
    port: u16,
    pod: String,
    service: String,
    json: Value,
}

async fn endpoints(control: &Control, authority: &str, token: &str) -> Result<Vec<Found>> {
    let request = GetDestination {
        path: authority.to_owned(),
        context_token: token.to_owned(),
        ..GetDestination::default()
    };
    let failed = |status: Status| match status.code() {
        Code::InvalidArgument => {
            let form = format!("write NAME.NAMESPACE.svc.{}:PORT", control.cluster_domain);
            refused(&status, authority).context(form)
        }
        _ => refused(&status, authority),
    };
    let stream = DestinationClient::new(control.channel.clone()).get(request).await;
    let mut stream = stream.map_err(failed)?.into_inner();
    let mut found = Vec::new();
    let mut next = stream.message().await.map_err(failed)?;
    while let Some(update) = next {
        match update.update {
            Some(Update::Add(set)) => found.extend(rows(&set, authority)),
            Some(Update::NoEndpoints(none)) if !none.exists => {
                bail!("there is no service {authority}");
            }
            Some(Update::NoEndpoints(_) | Update::Remove(_)) | None => break,
        }
        next = match tokio::time::timeout(LAST_MESSAGE, stream.message()).await {
            Ok(message) => message.map_err(failed)?,
            Err(_) => None,
        };
    }
    Ok(found)
}

fn rows(set: &WeightedAddrSet, authority: &str) -> Vec<Found> {
    let label = |name: &str| set.metric_labels.get(name).cloned().unwrap_or_default();
    let (namespace, service) = (label("namespace"), label("service"));
    let service = match service.is_empty() {
        true => authority.to_owned(),
        false => format!("{service}.{namespace}"),
    };
    let found = set.addrs.iter().filter_map(|described| {
        let address = address(described.addr.as_ref())?;
        let mut json = endpoint(described);
        json["service"] = json!(service);
        json["namespace"] = json!(namespace);
        Some(Found {
            namespace: namespace.clone(),
            ip: address.ip(),
            port: address.port(),
            pod: described.metric_labels.get("pod").cloned().unwrap_or_else(|| "-".into()),
            service: service.clone(),
            json,
        })
    });
    found.collect()
}
