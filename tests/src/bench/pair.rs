//! A pair of processes of another proxy that does what weft does: mTLS from node to node.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{
    forward::{Forward, Plan},
    haproxy, nginx,
    variant::Peer,
};

/// The processes of both sides; they are ended on drop.
pub(super) struct Pair {
    sides: [Child; 2],
    folder: PathBuf,
}

const SIDES: [&str; 2] = ["server", "client"];
/// nginx's first process ends its workers when it is asked to end, and not when it is killed.
const GRACE: Duration = Duration::from_secs(2);

impl Peer {
    pub(super) fn program(self) -> &'static str {
        match self {
            Peer::Haproxy { .. } => "haproxy",
            Peer::Nginx => "nginx",
        }
    }

    fn config(self, side: &str, plan: &Plan) -> String {
        match (self, side) {
            (Peer::Haproxy { threads }, "client") => haproxy::client_config(threads, plan),
            (Peer::Haproxy { threads }, _) => haproxy::server_config(threads, plan),
            (Peer::Nginx, "client") => nginx::client_config(plan),
            (Peer::Nginx, _) => nginx::server_config(plan),
        }
    }

    fn arguments(self, folder: &Path, config: &Path) -> Vec<PathBuf> {
        match self {
            Peer::Haproxy { .. } => vec!["-db".into(), "-f".into(), config.into()],
            Peer::Nginx => {
                vec!["-p".into(), folder.into(), "-e".into(), "stderr".into(), "-c".into(), config.into()]
            }
        }
    }
}

impl Pair {
    /// Writes certificates and configurations to `folder` and starts both sides. `inside` makes a command that runs in
    /// the pod of "client" or "server".
    pub(super) fn start(
        peer: Peer,
        folder: &Path,
        server: Ipv4Addr,
        forwards: &[Forward],
        inside: impl Fn(&str) -> Result<Command>,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        certificates(folder)?;
        let plan = Plan { folder, server, forwards };
        let start = |side: &str| -> Result<Child> {
            let file = folder.join(format!("{side}.cfg"));
            fs::write(&file, peer.config(side, &plan))?;
            let log = fs::File::create(folder.join(format!("{side}.log")))?;
            let mut command = inside(side)?;
            command.args(peer.arguments(folder, &file));
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            command.spawn().context(peer.program())
        };
        let [server, client] = SIDES;
        let sides = [start(server)?, start(client)?];
        Ok(Self { sides, folder: folder.to_owned() })
    }

    /// All processes of both sides.
    pub(super) fn pids(&self) -> Result<Vec<u32>> {
        let mut pids = Vec::new();
        for pid in self.sides.iter().map(Child::id) {
            pids.push(pid);
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = fs::read_to_string(&path).with_context(|| path.clone())?;
            for child in children.split_whitespace() {
                pids.push(child.parse().with_context(|| path.clone())?);
            }
        }
        Ok(pids)
    }

    pub(super) fn log(&self) -> String {
        let log = |side| fs::read_to_string(self.folder.join(format!("{side}.log"))).unwrap_or_default();
        format!("{} logged:\n{}", self.folder.display(), SIDES.map(log).concat())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for side in &self.sides {
            let _ = kill(Pid::from_raw(side.id().cast_signed()), Signal::SIGTERM);
        }
        let asked = Instant::now();
        for side in &mut self.sides {
            while matches!(side.try_wait(), Ok(None)) && asked.elapsed() < GRACE {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = side.kill();
            let _ = side.wait();
        }
    }
}

/// `ca.pem`, and `client.pem` and `server.pem` with their keys: P-256, as weft's.
fn certificates(folder: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // OpenSSL takes a certificate for self-signed if its subject equals its issuer: the names must differ.
    params.distinguished_name.push(DnType::CommonName, "bench CA");
    fs::write(folder.join("ca.pem"), params.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(params, key);
    for name in SIDES {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        fs::write(folder.join(format!("{name}.pem")), certificate.pem() + &key.serialize_pem())?;
    }
    Ok(())
}
