//! `weft inject`: adds workloads to the mesh.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::{
    flags::SettingFlags,
    input, output,
    report::{self, Entry},
    stream::Change,
    workload::{OWN, Workload},
};
use crate::{global::Global, install::Format, kubernetes::INJECT};

/// Add workloads to the mesh: annotate them in their manifests, to be piped into `kubectl apply -f -`
///
/// The annotation goes to the workload itself, not to its pods, so that applying it restarts nothing. Namespaces can be
/// annotated, too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # All deployments of a namespace; their pods keep running
  kubectl get -n emojivoto deploy -o yaml | weft inject - | kubectl apply -f -

  # Manifests in a file or a folder
  weft inject emojivoto.yaml | kubectl apply -f -
  weft inject manifests/ | kubectl apply -f -

  # A database, whose protocol the proxy must not interpret
  weft inject --opaque-ports 3306 mysql.yaml | kubectl apply -f -")]
pub(crate) struct InjectArgs {
    /// Files, folders, or `-` for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Annotate the pods instead, which replaces them when it is applied
    #[arg(long)]
    pod_template: bool,
    /// Write Linkerd's annotation for ingress controllers; weft treats it as enabled
    #[arg(long)]
    ingress: bool,
    /// Print this format, rather than that of the input; comments are lost
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    settings: SettingFlags,
    #[arg(long, hide = true)]
    manual: bool,
}

pub(crate) fn inject(global: &Global, args: &InjectArgs) -> Result<()> {
    if args.manual {
        bail!(
            "--manual: there is no sidecar to add. weft's proxy runs once on each node, and the annotation that \
             `weft inject` adds is all that a workload needs"
        );
    }
    let mut annotations = args.settings.annotations();
    let value = if args.ingress { "ingress" } else { "enabled" };
    annotations.push((INJECT.to_owned(), value.to_owned()));
    let mut streams = input::read(&args.files)?;
    let mut entries = Vec::new();
    for stream in &mut streams {
        let mut changes = Vec::new();
        for (place, object) in stream.objects() {
            let workload = Workload::new(object);
            let mut entry = Entry::new(&workload);
            if workload.is_supported() && entry.is_injectable() {
                entry.done = true;
                let path = if args.pod_template { workload.template_annotations() } else { None };
                changes.push((
                    place,
                    Change { path: path.unwrap_or(OWN), set: annotations.clone(), remove: Vec::new() },
                ));
            }
            entries.push(entry);
        }
        for (place, change) in changes {
            stream.change(place, change);
        }
    }
    output::manifests(&streams, args.output)?;
    report::injected(&entries, global.verbose);
    Ok(())
}
