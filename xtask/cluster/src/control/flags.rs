//! The flags of the control plane's programs.

use crate::layout::{API_PORT, Layout, PODS, SERVICES, State};

const ETCD: &str = "http://127.0.0.1:2379";
/// The issuer and the audience of service account tokens, as kubeadm sets them.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

pub(super) fn etcd(layout: &Layout) -> Vec<String> {
    let peer = "http://127.0.0.1:2380";
    vec![
        format!("--data-dir={}", layout.etcd_data().display()),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // A cluster for tests need not survive a power failure.
        "--unsafe-no-fsync".to_owned(),
    ]
}

pub(super) fn apiserver(layout: &Layout, state: &State) -> Vec<String> {
    let pki = |name: &str| layout.pki().join(name).display().to_string();
    vec![
        format!("--etcd-servers={ETCD}"),
        "--bind-address=0.0.0.0".to_owned(),
        format!("--advertise-address={}", state.api()),
        format!("--secure-port={API_PORT}"),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--service-account-key-file={}", pki("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", pki("service-accounts.key")),
        format!("--service-account-issuer={ISSUER}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet-client.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--requestheader-client-ca-file={}", pki("front-proxy-ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        format!("--proxy-client-cert-file={}", pki("front-proxy-client.crt")),
        format!("--proxy-client-key-file={}", pki("front-proxy-client.key")),
        // No kube-proxy runs beside it: webhooks and aggregated APIs are called at their endpoints.
        "--enable-aggregator-routing=true".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
    ]
}

pub(super) fn controller_manager(layout: &Layout) -> Vec<String> {
    let pki = |name: &str| layout.pki().join(name).display().to_string();
    let mut flags = clients(&pki("controller-manager.kubeconfig"));
    flags.extend([
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", pki("service-accounts.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
        format!("--cluster-cidr={PODS}"),
        format!("--service-cluster-ip-range={SERVICES}"),
        // The nodes' objects are made with their ranges: their routes exist before they do.
        "--allocate-node-cidrs=false".to_owned(),
    ]);
    flags
}

pub(super) fn scheduler(layout: &Layout) -> Vec<String> {
    clients(&layout.pki().join("scheduler.kubeconfig").display().to_string())
}

fn clients(kubeconfig: &str) -> Vec<String> {
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--leader-elect=false".to_owned(),
        "--profiling=false".to_owned(),
    ]
}
