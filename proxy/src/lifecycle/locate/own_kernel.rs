//! Recognizes pods that run on a kernel of their own: weft's programs do not see their connections.

/// Names of runtime classes, of the runtimes' handlers for them and of the programs that run such a pod, or parts of
/// them: Kata Containers and its virtual machines, gVisor.
const NAMES: [&str; 8] =
    ["kata", "gvisor", "runsc", "firecracker", "qemu-system", "cloud-hypervisor", "stratovirt", "peerpod"];

/// The reason why a pod with this runtime class, handler or program cannot be served.
pub(super) fn own_kernel(what: &str, name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    NAMES.iter().any(|known| lower.contains(known)).then(|| {
        format!(
            "the pod has a kernel of its own ({what} {name}): its connections cannot be seen from the node"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_machines_and_gvisor_are_recognized_and_others_are_not() {
        for name in [
            "kata",
            "kata-qemu",
            "kata-fc",
            "gvisor",
            "runsc",
            "io.containerd.runsc.v1",
            "qemu-system-x86_64",
        ] {
            assert!(own_kernel("runtime class", name).is_some_and(|reason| reason.contains(name)), "{name}");
        }
        for name in ["", "runc", "crun", "youki", "nvidia", "spin", "wasmtime", "pause", "systemd", "nginx"] {
            assert_eq!(own_kernel("runtime class", name), None, "{name}");
        }
    }
}
