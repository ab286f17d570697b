//! Reads a pod's uid from the cgroup of one of its processes.
//!
//! The kubelet names a pod's cgroup after its uid, in one of two ways (`kubelet/cm/pod_container_manager_linux.go`): with
//! the driver cgroupfs `…/kubepods/burstable/podUID/CONTAINER`, with the driver systemd
//! `…/kubepods-burstable-podUID.slice/…-CONTAINER.scope`, where `_` stands for `-`.

/// The uid of the pod that a process belongs to; `cgroup` is the content of its `/proc/PID/cgroup`.
pub(super) fn pod_uid(cgroup: &str) -> Option<String> {
    let (unified, v1): (Vec<_>, Vec<_>) = cgroup.lines().partition(|line| line.starts_with("0::"));
    unified.into_iter().chain(v1).find_map(|line| uid_in_path(line.splitn(3, ':').nth(2)?))
}

fn uid_in_path(path: &str) -> Option<String> {
    // Colons: what containerd makes of a slice if it is not told that systemd manages the cgroups.
    path.split(['/', ':']).find_map(|part| {
        let uid = match part.strip_suffix(".slice") {
            Some(slice) => slice.rsplit_once("-pod").map(|(_, uid)| uid).or(slice.strip_prefix("pod")),
            None => part.strip_prefix("pod"),
        };
        uid.filter(|uid| is_uid(uid)).map(|uid| uid.replace('_', "-"))
    })
}

/// A UUID; or, of a static pod, the hash of its manifest.
fn is_uid(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups: Vec<_> = text.split(['-', '_']).collect();
    match groups.as_slice() {
        [hash] => hash.len() == 32 && is_hex(hash),
        [_, _, _, _, _] => {
            groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(|g| is_hex(g))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "2f6d1c53-8a0e-4e5b-9d3c-0123456789ab";
    const CONTAINER: &str = "7f3c1d2e4b5a69788796a5b4c3d2e1f07f3c1d2e4b5a69788796a5b4c3d2e1f0";

    fn slice() -> String {
        UID.replace('-', "_")
    }

    #[test]
    fn each_driver_and_runtime_is_understood() {
        let slice = slice();
        for cgroup in [
            // containerd, driver cgroupfs: burstable, best-effort, guaranteed.
            format!("0::/kubepods/burstable/pod{UID}/{CONTAINER}\n"),
            format!("0::/kubepods/besteffort/pod{UID}/{CONTAINER}\n"),
            format!("0::/kubepods/pod{UID}/{CONTAINER}\n"),
            // containerd, driver systemd.
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{CONTAINER}.scope\n"
            ),
            format!("0::/kubepods.slice/kubepods-pod{slice}.slice/cri-containerd-{CONTAINER}.scope\n"),
            // CRI-O.
            format!(
                "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice/crio-{CONTAINER}.scope\n"
            ),
            // CRI-O's containers have a cgroup of their own below the scope.
            format!("0::/kubepods.slice/kubepods-pod{slice}.slice/crio-{CONTAINER}.scope/container\n"),
            // cri-dockerd.
            format!("0::/kubepods.slice/kubepods-pod{slice}.slice/docker-{CONTAINER}.scope\n"),
            // kind.
            format!(
                "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{slice}.slice/cri-containerd-{CONTAINER}.scope\n"
            ),
            // k3s in a container, seen from outside.
            format!("0::/docker/{CONTAINER}/kubepods/burstable/pod{UID}/{CONTAINER}\n"),
            // containerd with SystemdCgroup = false below a kubelet with the driver systemd.
            format!(
                "0::/system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{CONTAINER}\n"
            ),
            // A cgroup namespace that does not hold the process.
            format!("0::/../../kubepods/burstable/pod{UID}/{CONTAINER}\n"),
            // Hybrid: controllers of v1 beside v2.
            format!(
                "9:name=systemd:/kubepods/burstable/pod{UID}/{CONTAINER}\n4:memory:/kubepods/burstable/pod{UID}/{CONTAINER}\n0::/kubepods/burstable/pod{UID}/{CONTAINER}\n"
            ),
            // v1 only, or a runtime that leaves the process in the root of v2.
            format!("4:cpu,cpuacct:/kubepods/burstable/pod{UID}/{CONTAINER}\n0::/\n"),
            // A cgroup that the application has made.
            format!("0::/kubepods/pod{UID}/{CONTAINER}/podlike/pod-of-mine\n"),
        ] {
            assert_eq!(pod_uid(&cgroup).as_deref(), Some(UID), "{cgroup}");
        }
        let hash = "0123456789abcdef0123456789abcdef";
        assert_eq!(pod_uid(&format!("0::/kubepods/burstable/pod{hash}/{CONTAINER}")).as_deref(), Some(hash));
    }

    #[test]
    fn other_processes_belong_to_no_pod() {
        for cgroup in [
            "",
            "0::/\n",
            "0::/system.slice/kubelet.service\n",
            "0::/kubepods/burstable\n",
            "0::/kubepods.slice/kubepods-burstable.slice\n",
            "0::/user.slice/podman-1234.scope\n",
            "0::/machine.slice/libpod-0123456789abcdef.scope\n",
            "0::/kubepods/burstable/podnot-a-uid/x\n",
            "0::/kubepods/pod2f6d1c53-8a0e-4e5b-9d3c-0123456789a/x\n",
            "nonsense",
            "4:memory",
        ] {
            assert_eq!(pod_uid(cgroup), None, "{cgroup}");
        }
    }
}
