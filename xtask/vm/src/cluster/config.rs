//! The settings of a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::link::Links;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Its name: one cluster of a name runs at a time.
    pub id: String,
    /// The names of its nodes, at most 250.
    pub nodes: Vec<String>,
    /// How pods are joined to them.
    pub links: Links,
    /// What runs.
    pub manifests: Manifests,
    /// Where weft-control, weft-proxy and weft-demo are.
    pub binaries: PathBuf,
    /// More arguments for weft-control.
    pub control_args: Vec<String>,
    /// More arguments for every `weft-proxy run`.
    pub proxy_args: Vec<String>,
    /// Whether weft-viz may tap the proxies.
    pub taps: bool,
    /// Variables for weft-control and weft-proxy.
    pub env: Vec<(String, String)>,
    /// Whether weft-control and weft-proxies run; without them pods talk directly.
    pub mesh: bool,
    /// Ends [`crate::Cluster::start`] early when it becomes true.
    pub cancel: Arc<AtomicBool>,
    /// How long weft-control, and each weft-proxy, may take until it is ready.
    pub ready_timeout: Duration,
}

/// Kubernetes YAML.
#[derive(Clone, Debug)]
pub enum Manifests {
    /// A folder; changes in it take effect.
    Folder(PathBuf),
    /// Names and texts of files, which the cluster writes to a folder of its own.
    Embedded(Vec<(String, String)>),
}

impl ClusterConfig {
    /// Two nodes, `a` and `b`, programs from where this one is, no special arguments.
    pub fn new(id: impl Into<String>, manifests: impl Into<Manifests>) -> Self {
        let own = std::env::current_exe().ok();
        Self {
            id: id.into(),
            nodes: vec!["a".to_owned(), "b".to_owned()],
            links: Links::default(),
            manifests: manifests.into(),
            binaries: own.as_deref().and_then(Path::parent).unwrap_or(Path::new("/usr/bin")).to_owned(),
            control_args: Vec::new(),
            proxy_args: Vec::new(),
            taps: false,
            env: Vec::new(),
            mesh: true,
            cancel: Arc::default(),
            ready_timeout: Duration::from_secs(30),
        }
    }
}

impl Manifests {
    /// Where the files are.
    pub(crate) fn folder(&self, layout: &Layout) -> PathBuf {
        match self {
            Manifests::Folder(folder) => folder.clone(),
            Manifests::Embedded(_) => layout.root.join("demo"),
        }
    }

    /// Makes sure that the folder is there.
    pub(crate) fn prepare(&self, layout: &Layout) -> Result<()> {
        let folder = self.folder(layout);
        match self {
            Manifests::Folder(_) => {
                fs::read_dir(&folder).map(drop).map_err(Error::io("read the manifests in", folder))
            }
            Manifests::Embedded(files) => {
                fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
                files.iter().try_for_each(|(name, text)| {
                    let path = folder.join(name);
                    fs::write(&path, text).map_err(Error::io("write", path))
                })
            }
        }
    }
}

impl<P: Into<PathBuf>> From<P> for Manifests {
    fn from(folder: P) -> Self {
        Manifests::Folder(folder.into())
    }
}
