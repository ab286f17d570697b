//! Starts, finds and stops the cluster of the tests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::fcntl::{Flock, FlockArg};

use crate::{mesh::artefacts, suite::skip};

/// The nodes of every cluster.
pub const NODES: [&str; 2] = ["weft-a", "weft-b"];

/// Set by `cargo xtask test`: see xtask/src/test/kubernetes.rs.
const PROGRAMS: &str = "WEFT_KUBERNETES";
const IMAGES: &str = "WEFT_IMAGES";
const MISSING: &str = "WEFT_KUBERNETES_MISSING";
/// Another cluster than `test`, for example `dev`, to look at what tests leave.
const NAME: &str = "WEFT_TEST_CLUSTER";
const DEFAULT_NAME: &str = "test";

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    programs: PathBuf,
    /// Whether [`Cluster::stop`] is up to the tests.
    was_started: bool,
    /// Images that were imported, by file.
    loaded: Mutex<Vec<PathBuf>>,
    /// Namespaces that no test uses any more.
    unused: Mutex<Vec<String>>,
    /// Other test processes wait for this one.
    _lock: Option<Flock<fs::File>>,
}

static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();

/// Stops the shared cluster, if a test has started it.
pub fn end() {
    if let Some(Ok(cluster)) = SHARED.get()
        && cluster.was_started
        && let Err(error) = cluster.stop()
    {
        eprintln!("the cluster {} cannot be stopped: {error:#}", cluster.name);
    }
}

impl Cluster {
    /// The cluster of all tests.
    pub fn shared() -> Result<&'static Self> {
        // Where there are no programs, every test is skipped.
        programs()?;
        let name = env::var(NAME).unwrap_or_else(|_| DEFAULT_NAME.to_owned());
        let started = SHARED.get_or_init(|| {
            let lock = lock(&name).map_err(|e| format!("{e:#}"))?;
            let cluster = Self::start(&name).map_err(|e| format!("{e:#}"))?;
            Ok(Self { _lock: Some(lock), ..cluster })
        });
        started.as_ref().map_err(|reason| anyhow!("the cluster did not start: {reason}"))
    }

    /// Starts a cluster of this name, unless it runs.
    pub fn start(name: &str) -> Result<Self> {
        let programs = programs()?;
        let was_started = !kubeconfig(name).exists();
        let cluster = Self {
            name: name.to_owned(),
            programs: programs.clone(),
            was_started,
            loaded: Mutex::default(),
            unused: Mutex::default(),
            _lock: None,
        };
        cluster.weft_cluster(&["up", "--programs", &programs.display().to_string()])?;
        Ok(cluster)
    }

    /// Stops it and removes everything of it.
    pub fn stop(&self) -> Result<()> {
        self.weft_cluster(&["down"]).map(drop)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(&self.name)
    }

    /// Kubernetes' program of this name, helm's too.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join("bin").join(name)
    }

    /// Kills a program of the control plane, for example `kube-apiserver`.
    pub fn stop_program(&self, program: &str) -> Result<()> {
        self.weft_cluster(&["stop", program]).map(drop)
    }

    /// Starts it again, and waits until it serves.
    pub fn start_program(&self, program: &str) -> Result<()> {
        self.weft_cluster(&["start", program]).map(drop)
    }

    /// The network namespace of a node.
    pub fn node_netns(&self, node: &str) -> PathBuf {
        folder(&self.name).join("netns").join(node)
    }

    /// The output of a command that runs in a node's namespaces, as root there.
    pub fn inside(&self, node: &str, command: &[&str]) -> Result<String> {
        self.weft_cluster(&[&["inside", node, "--"], command].concat())
    }

    /// The image of Prometheus that the chart weft-viz names, on every node. It is built for tests.
    pub fn load_prometheus(&self) -> Result<()> {
        self.load(&self.programs.join("images/prometheus.tar"))
    }

    /// The image of clients and servers for tests, `localhost/weft-toolbox:1`, on every node.
    pub fn load_toolbox(&self) -> Result<()> {
        self.load(&self.programs.join("images/toolbox.tar"))
    }

    /// weft's images, on every node.
    pub fn load_weft(&self) -> Result<()> {
        weft_images()?.iter().try_for_each(|image| self.load(image))
    }

    fn load(&self, archive: &Path) -> Result<()> {
        let mut loaded: MutexGuard<'_, _> = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if !loaded.iter().any(|other| other == archive) {
            self.weft_cluster(&["load-images", &archive.display().to_string()])?;
            loaded.push(archive.to_owned());
        }
        Ok(())
    }

    /// From now on it may be deleted.
    pub(super) fn add_unused(&self, namespace: &str) {
        self.unused.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.to_owned());
    }

    pub(super) fn take_unused(&self) -> Vec<String> {
        std::mem::take(&mut *self.unused.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Deletes namespaces; nothing waits for their end.
    pub(super) fn delete(&self, namespaces: &[String]) {
        for name in namespaces {
            if let Err(error) = self.kubectl(&["delete", "namespace", name, "--wait=false"]) {
                eprintln!("the namespace {name} stays: {error:#}");
            }
        }
    }

    /// The end of every log of the cluster's programs.
    pub(super) fn logs(&self) -> Result<String> {
        self.weft_cluster(&["logs"])
    }

    fn weft_cluster(&self, arguments: &[&str]) -> Result<String> {
        output(weft_cluster(&self.name)?.args(arguments).stdin(Stdio::null()))
    }
}

/// The program that starts and stops clusters, for the cluster of this name; to be given a command.
pub fn weft_cluster(name: &str) -> Result<Command> {
    let mut command = Command::new(artefacts::target_directory()?.join("debug/weft-cluster"));
    command.args(["--name", name]);
    Ok(command)
}

/// The archives of weft's images.
pub fn weft_images() -> Result<Vec<PathBuf>> {
    let folder = env::var_os(IMAGES).ok_or_else(|| skip("weft's images are not built"))?;
    let images = fs::read_dir(&folder).with_context(|| format!("{IMAGES}={}", folder.display()))?;
    images.map(|image| Ok(image?.path())).collect()
}

/// A program's output; an error if it fails, with what it wrote.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| shown.clone())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure_success(output.status, &shown, &text(&output.stdout), &text(&output.stderr))?;
    Ok(text(&output.stdout))
}

fn ensure_success(status: ExitStatus, shown: &str, stdout: &str, stderr: &str) -> Result<()> {
    ensure!(status.success(), "{shown}: {status}\n{}{}", stdout.trim(), stderr.trim());
    Ok(())
}

/// The folder of Kubernetes' programs and of the images that each cluster needs.
pub fn programs() -> Result<PathBuf> {
    match env::var_os(PROGRAMS) {
        Some(folder) => Ok(folder.into()),
        None => Err(skip(env::var(MISSING).unwrap_or_else(|_| {
            format!("Kubernetes' programs are not prepared: run `cargo xtask test`, which sets {PROGRAMS}")
        }))),
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new("/var/lib/weft-kubernetes").join(name)
}

fn kubeconfig(name: &str) -> PathBuf {
    folder(name).join("kubeconfig")
}

fn lock(name: &str) -> Result<Flock<fs::File>> {
    let file = fs::File::create(env::temp_dir().join(format!("weft-kubernetes-{name}.lock")))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).context("flock")
}
