//! `weft diagnostics policy`: who may connect to a port, as weft-control tells the proxies.

use anyhow::Result;
use clap::{Args, ValueEnum};
use kube::Client;
use serde_json::{Value, json};

use crate::{
    chart::to_yaml,
    control::{Control, ControlFlags, port, refused, server},
    global::Global,
    kubernetes::{names, namespace, pods_of},
    terminal::print,
};

/// Print the policy of a port of pods: the protocol, and who may connect
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # The policy of a port of a pod
  weft -n emojivoto diagnostics policy pod/web-5f4b8d6c9-2xk8p 8080

  # Of all pods of a deployment, as JSON
  weft -n emojivoto diagnostics policy deploy/web 8080 -o json")]
pub(super) struct PolicyArgs {
    /// pod/NAME, NAME (a pod), deploy/NAME, sts/NAME, ds/NAME, rs/NAME, job/NAME, svc/NAME or ns/NAME
    resource: String,
    /// The port of the pods
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// How the policy is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// What names the pod to weft-control, as a proxy of Linkerd would send it; otherwise it is made of the pod's name
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    control: ControlFlags,
}

/// The format of structured output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    #[default]
    Yaml,
    Json,
}

impl Format {
    pub(super) fn print(self, value: &Value) -> Result<()> {
        match self {
            Self::Yaml => print(&format!("{}\n", to_yaml(value).trim_end())),
            Self::Json => print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        }
    }
}

pub(super) async fn run(global: &Global, client: &Client, args: &PolicyArgs) -> Result<()> {
    let pods = pods_of(client, &namespace(global, client), &args.resource).await?;
    let control = Control::connect(global, client, &args.control).await?;
    let mut found = Vec::new();
    for pod in &pods {
        let (namespace, name) = names(pod)?;
        let policy = port(&control.channel, pod, args.port, args.token.as_deref()).await?;
        let policy = policy.map_err(|status| refused(&status, &format!("the pod {namespace}/{name}")))?;
        found.push(json!({ "pod": format!("{namespace}/{name}"), "server": server(&policy) }));
    }
    match found.as_slice() {
        [one] => args.output.print(one),
        all => args.output.print(&json!(all)),
    }
}
