//! Makes the keys, certificates and kubeconfigs of a new cluster.
//!
//! As kubeadm does: an authority of the cluster, one of the front proxy (for aggregated APIs), a key pair that signs
//! service account tokens, and a certificate for each program.

mod authority;
mod kubeconfig;

use std::{
    env, fs,
    os::unix::fs::{OpenOptionsExt, chown},
    path::Path,
};

use anyhow::{Context, Result};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair};

use self::authority::{Authority, Pair, Subject};
use crate::layout::{API_SERVICE, Layout, NODES, State};

const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;
const SERVER: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ServerAuth;

/// Clients of the API server whose kubeconfig is `pki/NAME.kubeconfig`: name, user, group.
const CLIENTS: [(&str, &str, &str); 3] = [
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("admin", "kubernetes-admin", "system:masters"),
];

/// Writes all of them.
pub(crate) fn create(layout: &Layout, state: &State) -> Result<()> {
    let folder = layout.pki();
    fs::create_dir_all(&folder)?;
    let cluster = Authority::new("kubernetes-ca")?;
    let front_proxy = Authority::new("front-proxy-ca")?;
    write_pair(&folder, "ca", cluster.pair())?;
    write_pair(&folder, "front-proxy-ca", front_proxy.pair())?;

    let tokens = KeyPair::generate()?;
    write(&folder.join("service-accounts.key"), &tokens.serialize_pem())?;
    write(&folder.join("service-accounts.pub"), &tokens.public_key_pem())?;

    let (inside, outside) = (API_SERVICE.to_string(), state.api().to_string());
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        &inside,
        &outside,
    ];
    let server = Subject { user: "kube-apiserver", group: "", names: &names, usage: SERVER };
    write_pair(&folder, "apiserver", &cluster.issue(&server)?)?;
    let kubelets = client("kube-apiserver-kubelet-client", "system:masters");
    write_pair(&folder, "apiserver-kubelet-client", &cluster.issue(&kubelets)?)?;
    let aggregator = client("front-proxy-client", "");
    write_pair(&folder, "front-proxy-client", &front_proxy.issue(&aggregator)?)?;

    for (name, user, group) in CLIENTS {
        let text = kubeconfig::text(layout, state, cluster.pair(), &cluster.issue(&client(user, group))?);
        write(&folder.join(format!("{name}.kubeconfig")), &text)?;
        if name == "admin" {
            write(&layout.kubeconfig(), &text)?;
            give_to_user(&layout.kubeconfig())?;
        }
    }
    NODES.iter().enumerate().try_for_each(|(index, node)| node_files(layout, state, &cluster, index, node))
}

/// The files that the node sees as /kubernetes/pki.
fn node_files(layout: &Layout, state: &State, cluster: &Authority, index: usize, node: &str) -> Result<()> {
    let folder = layout.node_pki(node);
    fs::create_dir_all(&folder)?;
    write(&folder.join("ca.crt"), &cluster.pair().certificate)?;
    let address = state.node(index).to_string();
    let names = [node, &address];
    let serving = Subject { user: node, group: "", names: &names, usage: SERVER };
    write_pair(&folder, "kubelet", &cluster.issue(&serving)?)?;
    let user = format!("system:node:{node}");
    for (name, user, group) in
        [("kubelet", user.as_str(), "system:nodes"), ("kube-proxy", "system:kube-proxy", "")]
    {
        let text = kubeconfig::text(layout, state, cluster.pair(), &cluster.issue(&client(user, group))?);
        write(&folder.join(format!("{name}.kubeconfig")), &text)?;
    }
    Ok(())
}

fn client<'a>(user: &'a str, group: &'a str) -> Subject<'a> {
    Subject { user, group, names: &[], usage: CLIENT }
}

fn write_pair(folder: &Path, name: &str, pair: &Pair) -> Result<()> {
    write(&folder.join(format!("{name}.crt")), &pair.certificate)?;
    write(&folder.join(format!("{name}.key")), &pair.key)
}

/// Only its owner may read it.
fn write(file: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut opened = options.open(file).with_context(|| file.display().to_string())?;
    std::io::Write::write_all(&mut opened, text.as_bytes()).with_context(|| file.display().to_string())
}

/// Gives a file to the user behind sudo.
fn give_to_user(file: &Path) -> Result<()> {
    let id = |name: &str| env::var(name).ok()?.parse::<u32>().ok();
    match id("SUDO_UID") {
        Some(user) => chown(file, Some(user), id("SUDO_GID")).with_context(|| file.display().to_string()),
        None => Ok(()),
    }
}
