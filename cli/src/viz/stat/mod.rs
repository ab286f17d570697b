//! `weft viz stat`: success rate, requests, latency and connections of resources.

mod policy;
mod rows;

use anyhow::Result;
use clap::Args;
use weft_api::viz::{Meta, ResourceType, Selector, StatRow};

use self::{policy::PolicyTarget, rows::Tables};
use super::{
    access::Viz,
    notes,
    options::{Output, OutputOption, VizOptions, WindowOption},
    resource::{Kind, Target},
};
use crate::{global::Global, terminal::print};

/// Print success rate, requests per second, latency and connections of resources
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # All deployments of a namespace
  weft viz stat deploy -n emojivoto

  # One of them, over the last hour
  weft viz stat deploy/web -n emojivoto -t 1h

  # All workloads, pods and services of a namespace
  weft viz stat all -n emojivoto

  # The requests from web to everything that it calls
  weft viz stat deploy -n emojivoto --from deploy/web

  # What every namespace sends to one service
  weft viz stat ns --to svc/voting-svc --to-namespace emojivoto

  # What the Servers of a namespace let in and refuse, and what each policy let in
  weft viz stat server -n emojivoto
  weft viz stat authorizationpolicy -n emojivoto

  # All pods, with bytes per second
  weft viz stat po -A -o wide

Types: deploy, sts, ds, rs, rc, job, cj, po, svc, ns, and `all`; of policies server, serverauthorization and
authorizationpolicy.
Figures are of what was received; with --to or --from, of what the source sent. READ_BYTES and WRITE_BYTES of -o wide are
what the resource read from its clients and wrote to them; with --to or --from, what the source read and wrote.
Resources that are not in the mesh have no figures; --unmeshed lists them too.")]
pub(crate) struct StatArgs {
    /// TYPE, TYPE/NAME or TYPE NAME; several are possible
    #[arg(required = true, value_name = "RESOURCE")]
    resources: Vec<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only what was sent to this resource: TYPE/NAME
    #[arg(long, value_name = "RESOURCE", conflicts_with_all = ["from", "from_namespace"])]
    to: Option<String>,
    /// The namespace of --to; otherwise the same as that of the resources
    #[arg(long, value_name = "NAMESPACE", requires = "to")]
    to_namespace: Option<String>,
    /// Only what was sent by this resource: TYPE/NAME
    #[arg(long, value_name = "RESOURCE")]
    from: Option<String>,
    /// The namespace of --from; otherwise the same as that of the resources
    #[arg(long, value_name = "NAMESPACE", requires = "from")]
    from_namespace: Option<String>,
    /// Only resources with these labels, as in app=web
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
    /// Resources that are not in the mesh, too
    #[arg(long)]
    unmeshed: bool,
    #[command(flatten)]
    window: WindowOption,
    #[command(flatten)]
    output: OutputOption,
}

pub(crate) async fn stat(global: &Global, options: &VizOptions, args: &StatArgs) -> Result<()> {
    if let Some(policies) = PolicyTarget::parse(&args.resources)? {
        return policy::stat(&Viz::connect(global, options).await?, args, &policies).await;
    }
    let targets = Target::parse_all(&args.resources)?;
    let other = other_end(args)?;
    let viz = Viz::connect(global, options).await?;
    let mut all = Vec::new();
    let mut about: Option<Meta> = None;
    let mut hints = Vec::new();
    for target in &targets {
        let (meta, rows) = read(&viz, args, target, other.as_ref()).await?;
        if let (true, Some(other)) = (rows.is_empty(), &other) {
            let what = format!("traffic {} {}", other.prefix, other.target);
            let what = match args.selector {
                Some(_) => format!("{what} of resources with these labels"),
                None => what,
            };
            hints.push(notes::no_traffic(Some(meta.source), meta.window, &what));
        } else {
            all.extend(kept(&viz, args, target, rows, &mut hints).await?);
        }
        about = Some(meta);
    }
    all.sort_by(|a, b| a.resource.kind.cmp(&b.resource.kind).then_with(|| a.resource.cmp(&b.resource)));
    all.dedup_by(|a, b| a.resource == b.resource && a.split == b.split);
    if let Some(meta) = &about {
        notes::about(meta);
    }
    for hint in &hints {
        notes::say(hint);
    }
    match args.output.output {
        Output::Json => print(&rows::json(&all)?)?,
        output => {
            let namespaces = args.all_namespaces;
            let prefix = targets.len() > 1 || targets.iter().any(|target| target.kind == Kind::All);
            print(&Tables { namespaces, prefix, wide: output == Output::Wide }.render(&all))?;
        }
    }
    let idle = |row: &StatRow| {
        row.http.as_ref().is_none_or(|http| http.requests <= 0.0)
            && row.tcp.is_none_or(|tcp| tcp.open_connections <= 0.0)
    };
    if hints.is_empty() && !all.is_empty() && all.iter().all(idle) {
        let source = about.as_ref().map(|meta| meta.source);
        notes::say(&notes::no_traffic(source, args.window.window, "traffic"));
    }
    Ok(())
}

/// Parameters of the API for `--to` and `--from`.
struct OtherEnd {
    prefix: &'static str,
    target: Target,
    namespace: Option<String>,
}

fn other_end(args: &StatArgs) -> Result<Option<OtherEnd>> {
    let (prefix, text, namespace) = match (&args.to, &args.from) {
        (Some(to), _) => ("to", to, &args.to_namespace),
        (None, Some(from)) => ("from", from, &args.from_namespace),
        (None, None) => return Ok(None),
    };
    Ok(Some(OtherEnd { prefix, target: Target::parse(text)?, namespace: namespace.clone() }))
}

async fn read(
    viz: &Viz,
    args: &StatArgs,
    target: &Target,
    other: Option<&OtherEnd>,
) -> Result<(Meta, Vec<StatRow>)> {
    let mut query = vec![("window", args.window.window.to_string()), ("type", target.api_type().to_owned())];
    if target.kind == Kind::One(ResourceType::Namespace) {
        query.extend(target.name.clone().map(|name| ("namespace", name)));
    } else {
        if !args.all_namespaces {
            query.push(("namespace", viz.namespace.clone()));
        }
        query.extend(target.name.clone().map(|name| ("name", name)));
    }
    query.extend(args.selector.as_ref().map(|selector| ("selector", selector.to_string())));
    if let Some(other) = other {
        let names = match other.prefix {
            "to" => ["to_namespace", "to_type", "to_name"],
            _ => ["from_namespace", "from_type", "from_name"],
        };
        let resource = other.target.resource(other.namespace.as_deref().unwrap_or(&viz.namespace))?;
        query.extend([
            (names[0], resource.namespace),
            (names[1], resource.kind.as_str().to_owned()),
            (names[2], resource.name),
        ]);
    }
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = viz.get::<Vec<StatRow>>("/api/tps-reports", &query).await?;
    Ok((answer.meta, answer.data))
}

/// The rows that are shown. Says why if that is none.
async fn kept(
    viz: &Viz,
    args: &StatArgs,
    target: &Target,
    rows: Vec<StatRow>,
    hints: &mut Vec<String>,
) -> Result<Vec<StatRow>> {
    let plural = target.plural();
    let namespace = (!args.all_namespaces && target.kind != Kind::One(ResourceType::Namespace))
        .then_some(viz.namespace.as_str());
    if rows.is_empty() && args.selector.is_some() {
        hints.push(format!("None of the {plural} has the labels that -l asks for, or there are none."));
        return Ok(rows);
    }
    if rows.is_empty() {
        hints.push(notes::no_such(viz, namespace, plural).await?);
        return Ok(rows);
    }
    let mut chosen = rows;
    let unmeshed = |row: &StatRow| row.pods.is_some_and(|pods| pods.meshed == 0);
    let before = chosen.len();
    if !args.unmeshed && target.name.is_none() {
        chosen.retain(|row| !unmeshed(row));
    }
    let hidden = before - chosen.len();
    let what = match &target.name {
        Some(name) if !chosen.is_empty() && chosen.iter().all(unmeshed) => {
            Some(format!("{}/{name} is not in the mesh, and has no figures", target.api_type()))
        }
        None if chosen.is_empty() && hidden > 0 => Some(format!(
            "{hidden} {plural} were found (--unmeshed lists them), and none is in the mesh, so they have no figures"
        )),
        _ => None,
    };
    if let Some(what) = what {
        // A namespace is in itself.
        let place = match (target.kind, &target.name) {
            (Kind::One(ResourceType::Namespace), Some(name)) => Some(name.as_str()),
            _ => namespace,
        };
        hints.push(notes::unmeshed(viz, place, &what).await?);
    }
    Ok(chosen)
}
