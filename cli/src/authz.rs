//! `weft authz`: which authorizations cover the ports of a resource.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
};
use tonic::Code;
use weft_api::linkerd::{
    inbound::{Authz, Server},
    meta::{Metadata, metadata},
};

use crate::{
    control::{Control, ControlFlags, port, refused, routes},
    global::Global,
    kubernetes::{explain, namespace, not_found, pods_of},
    terminal::{print, table},
};

/// Print who is let in to the ports of a resource: the Servers and authorizations that cover its pods
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # What covers the pods of a deployment
  weft -n emojivoto authz deploy/web

  # A pod
  weft -n emojivoto authz pod/web-5f4b8d6c9-2xk8p

The node proxies enforce this for pods of the mesh; `weft check --proxy` tells which pods are in it.")]
pub(crate) struct AuthzArgs {
    /// deploy/NAME, sts/NAME, ds/NAME, rs/NAME, job/NAME, svc/NAME, ns/NAME, pod/NAME, or KIND NAME
    #[arg(required = true, num_args = 1..=2, value_name = "RESOURCE")]
    resource: Vec<String>,
    #[command(flatten)]
    control: ControlFlags,
}

/// A port that nothing is about, if a pod declares none.
const ANY_PORT: u16 = 65_535;
const REQUESTS_AT_ONCE: usize = 16;
const NONE: &str = "-";

pub(crate) async fn run(global: &Global, args: &AuthzArgs) -> Result<()> {
    let client = crate::kubernetes::connect(global).await?;
    let pods = pods_of(&client, &namespace(global, &client), &args.resource.join("/")).await?;
    let control = Control::connect(global, &client, &args.control).await?;
    let of_servers = server_ports(&client, &pods).await?;
    let mut asked = Vec::new();
    for pod in &pods {
        let declared = declared_ports(pod);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let others = of_servers.get(namespace).into_iter().flatten().filter(|port| !declared.contains(port));
        asked.extend(others.map(|port| (pod, *port, false)));
        asked.extend(declared.iter().map(|port| (pod, *port, true)));
        if declared.is_empty() {
            asked.push((pod, ANY_PORT, true));
        }
    }
    let answers = asked.into_iter().map(|(pod, number, is_declared)| {
        let channel = &control.channel;
        async move { anyhow::Ok((port(channel, pod, number, None).await?, is_declared, pod)) }
    });
    let answers: Vec<_> = stream::iter(answers).buffered(REQUESTS_AT_ONCE).try_collect().await?;
    let mut rows = BTreeSet::new();
    for (answer, is_declared, pod) in answers {
        match answer {
            // A Server may name a port that its pods do not declare. Of other pods, it says nothing.
            Ok(server) if is_declared || is_named(&server) => rows.extend(rows_of(&server)),
            Ok(_) => {}
            // It has ended in the meantime, or has not been seen yet.
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                return Err(refused(&status, &format!("the pod {name}")));
            }
        }
    }
    if rows.is_empty() {
        bail!("weft-control knows none of these pods yet; try again in a moment");
    }
    print(&table(&["ROUTE", "SERVER", "AUTHORIZATION_POLICY", "SERVER_AUTHORIZATION"], rows))
}

fn declared_ports(pod: &Pod) -> BTreeSet<u16> {
    let containers = pod.spec.iter().flat_map(|spec| {
        // Init containers that go on running are sidecars.
        spec.containers.iter().chain(spec.init_containers.iter().flatten())
    });
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    tcp.filter_map(|port| u16::try_from(port.container_port).ok()).filter(|port| *port > 0).collect()
}

/// The numbers of ports in the Servers of each namespace. Names are those of declared ports.
async fn server_ports(client: &Client, pods: &[Pod]) -> Result<BTreeMap<String, BTreeSet<u16>>> {
    let resource = ApiResource {
        group: "policy.linkerd.io".into(),
        version: "v1beta3".into(),
        api_version: "policy.linkerd.io/v1beta3".into(),
        kind: "Server".into(),
        plural: "servers".into(),
    };
    let namespaces: BTreeSet<_> = pods.iter().filter_map(|pod| pod.metadata.namespace.clone()).collect();
    let mut ports = BTreeMap::new();
    for namespace in namespaces {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource);
        let servers = match api.list(&ListParams::default()).await {
            Ok(servers) => servers.items,
            Err(error) if not_found(&error) => Vec::new(),
            Err(error) => return Err(explain(error, "list the Servers")),
        };
        let number = |server: &DynamicObject| server.data["spec"]["port"].as_u64();
        let numbers = servers.iter().filter_map(number).filter_map(|port| u16::try_from(port).ok());
        ports.insert(namespace, numbers.filter(|port| *port > 0).collect());
    }
    Ok(ports)
}

/// Whether a Server is about the port.
fn is_named(server: &Server) -> bool {
    server.labels.get("kind").is_some_and(|kind| kind == "server")
}

fn rows_of(server: &Server) -> Vec<[String; 4]> {
    let name = server.labels.get("name").cloned().unwrap_or_default();
    let name = if is_named(server) { name } else { format!("default:{name}") };
    let row = |route: &str, authz: Option<&Authz>| {
        let (policy, authorization) = authz.map_or((NONE.to_owned(), NONE.to_owned()), columns);
        [route.to_owned(), name.clone(), policy, authorization]
    };
    let mut rows: Vec<_> = server.authorizations.iter().map(|authz| row("*", Some(authz))).collect();
    if rows.is_empty() {
        rows.push(row("*", None));
    }
    for route in routes(server) {
        let name = name_of(route.metadata);
        rows.extend(route.authorizations.iter().map(|authz| row(&name, Some(authz))));
    }
    rows
}

/// The columns AUTHORIZATION_POLICY and SERVER_AUTHORIZATION.
fn columns(authz: &Authz) -> (String, String) {
    let name = name_of(authz.metadata.as_ref());
    match authz.metadata.as_ref().and_then(|metadata| metadata.kind.as_ref()) {
        Some(metadata::Kind::Resource(resource)) if resource.kind == "serverauthorization" => {
            (NONE.to_owned(), name)
        }
        Some(metadata::Kind::Default(name)) => (format!("default/{name}"), NONE.to_owned()),
        _ => (name, NONE.to_owned()),
    }
}

fn name_of(metadata: Option<&Metadata>) -> String {
    match metadata.and_then(|metadata| metadata.kind.as_ref()) {
        Some(metadata::Kind::Default(name)) => name.clone(),
        Some(metadata::Kind::Resource(resource)) => resource.name.clone(),
        None => NONE.to_owned(),
    }
}
