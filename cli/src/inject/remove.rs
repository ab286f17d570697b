//! `weft uninject`: takes workloads out of the mesh.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{
    input, output,
    report::{self, Entry},
    stream::Change,
    workload::{OWN, Workload},
};
use crate::install::Format;

/// Take workloads out of the mesh: remove the annotations that `weft inject` adds
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # All deployments of a namespace; their pods keep running
  kubectl get -n emojivoto deploy -o yaml | weft uninject - | kubectl apply -f -

Settings (config.linkerd.io/…) stay: they have no effect outside the mesh.")]
pub(crate) struct UninjectArgs {
    /// Files, folders, or `-` for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print this format, rather than that of the input; comments are lost
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

pub(crate) fn uninject(args: &UninjectArgs) -> Result<()> {
    let mut streams = input::read(&args.files)?;
    let mut entries = Vec::new();
    for stream in &mut streams {
        let mut changes = Vec::new();
        for (place, object) in stream.objects() {
            let workload = Workload::new(object);
            let mut entry = Entry::new(&workload);
            if workload.is_supported() {
                for path in [Some(OWN), workload.template_annotations()].into_iter().flatten() {
                    let remove = workload.mesh_annotations(path);
                    if !remove.is_empty() {
                        entry.done = true;
                        changes.push((place.clone(), Change { path, set: Vec::new(), remove }));
                    }
                }
            }
            entries.push(entry);
        }
        for (place, change) in changes {
            stream.change(place, change);
        }
    }
    output::manifests(&streams, args.output)?;
    report::uninjected(&entries);
    Ok(())
}
