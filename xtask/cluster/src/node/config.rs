//! The configuration of a node's programs, with the paths that the node sees.

use std::fs;

use anyhow::Result;

use crate::layout::{DNS_SERVICE, Layout, PODS, State, pod_range};

/// Writes all files of /kubernetes/config.
pub(super) fn write(layout: &Layout, state: &State, index: usize, node: &str) -> Result<()> {
    let folder = layout.node_config(node);
    fs::create_dir_all(folder.join("cni"))?;
    let address = state.node(index).to_string();
    let files = [
        ("containerd.toml", CONTAINERD.to_owned()),
        (
            "kubelet.yaml",
            KUBELET.replace("{ADDRESS}", &address).replace("{DNS_SERVICE}", &DNS_SERVICE.to_string()),
        ),
        (
            "kube-proxy.yaml",
            KUBE_PROXY.replace("{ADDRESS}", &address).replace("{NODE}", node).replace("{PODS}", PODS),
        ),
        ("cni/10-pods.conflist", CNI.replace("{RANGE}", &pod_range(index))),
        // CoreDNS gets it: there is no name server outside.
        ("resolv.conf", String::new()),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

const CONTAINERD: &str = r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:1"

[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE no score may become lower.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
    conf_dir = "/kubernetes/config/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false

[plugins."io.containerd.nri.v1.nri"]
  disable = false
"#;

const KUBELET: &str = r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /kubernetes/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: /kubernetes/pki/kubelet.crt
tlsPrivateKeyFile: /kubernetes/pki/kubelet.key
address: "{ADDRESS}"
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
resolvConf: /kubernetes/config/resolv.conf
clusterDNS: ["{DNS_SERVICE}"]
clusterDomain: cluster.local
# The disk is the host's.
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
oomScoreAdj: 0
healthzBindAddress: 127.0.0.1
volumePluginDir: /var/lib/kubelet/volume-plugins
makeIPTablesUtilChains: false
nodeStatusUpdateFrequency: 5s
"#;

const KUBE_PROXY: &str = r#"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: /kubernetes/pki/kube-proxy.kubeconfig}
hostnameOverride: "{NODE}"
clusterCIDR: "{PODS}"
bindAddress: "{ADDRESS}"
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
oomScoreAdj: 0
# Their sysctls belong to the whole machine.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
"#;

/// A link for each pod, which the node routes: with a bridge, packets between pods of a node would pass kube-proxy's
/// rules only with br_netfilter.
const CNI: &str = r#"{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "{RANGE}"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
"#;
