//! The cluster of the soak test and the roles of its pods.

use crate::mesh::{Description, PodSpec, mesh};

/// What happens to a pod during a soak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing; it is meshed and open to everybody.
    Stable,
    /// Nothing; it requires an identity of every client.
    Guarded,
    /// Its policy changes between "everybody" and "nobody". It fails closed, as guarded pods do.
    PolicyChanges,
    /// It joins and leaves the mesh.
    Joining,
    /// It is deleted and created again.
    Replaced,
    /// It enters and leaves the service [`SHOP`]; clients use only the service.
    Shop,
    /// Nothing; it is not meshed.
    Unmeshed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct TestPod {
    pub(super) name: &'static str,
    pub(super) node: &'static str,
    pub(super) role: Role,
}

const fn test_pod(name: &'static str, node: &'static str, role: Role) -> TestPod {
    TestPod { name, node, role }
}

pub(super) const TEST_PODS: [TestPod; 14] = [
    test_pod("stable-a", "a", Role::Stable),
    test_pod("stable-b", "b", Role::Stable),
    test_pod("guarded-a", "a", Role::Guarded),
    test_pod("guarded-b", "b", Role::Guarded),
    test_pod("policy-a", "a", Role::PolicyChanges),
    test_pod("policy-b", "b", Role::PolicyChanges),
    test_pod("joining-a", "a", Role::Joining),
    test_pod("joining-b", "b", Role::Joining),
    test_pod("replaced-a", "a", Role::Replaced),
    test_pod("replaced-b", "b", Role::Replaced),
    test_pod("shop-1", "a", Role::Shop),
    test_pod("shop-2", "b", Role::Shop),
    test_pod("shop-3", "b", Role::Shop),
    test_pod("unmeshed", "a", Role::Unmeshed),
];

/// The service with several pods.
pub(super) const SHOP: &str = "shop";

/// The ports of byte-checked exchanges: through the proxy, direct within a node, spliced within a node.
pub(super) const EXCHANGES: [u16; 3] = [8080, 8081, 8082];
/// The ports of echoes, in the same order.
pub(super) const ECHOES: [u16; 3] = [8083, 8084, 8085];
pub(super) const ECHO: u16 = ECHOES[0];
/// The port of an echo server that sends a greeting first.
pub(super) const GREETER: u16 = 8086;
/// The ports of HTTP/1 and of gRPC-like HTTP/2.
pub(super) const HTTP: [u16; 2] = [8087, 8088];
const OPAQUE: &str = "8081,8084";
const SPLICED: &str = "8082,8085";
pub(super) const GREETING: &str = "220 at your service\r\n";

/// Old processes end within this time after a takeover.
const DRAIN: &str = "--drain-timeout=60s";

pub(super) fn description() -> Description {
    let services =
        TEST_PODS.iter().filter(|test_pod| test_pod.role != Role::Shop).map(|test_pod| test_pod.name);
    let cluster = services.chain([SHOP]).fold(mesh("soak"), |cluster, name| {
        cluster.service(name, |service| (EXCHANGES[0]..=HTTP[1]).fold(service, |s, port| s.port(port, port)))
    });
    // Certificates are renewed frequently.
    let cluster = cluster.control_arg("--issuance-lifetime=60s").proxy_arg(DRAIN);
    TEST_PODS
        .iter()
        .fold(cluster, |cluster, test_pod| cluster.pod(test_pod.name, |pod| test_pod.specify(pod)))
}

impl TestPod {
    /// The pod as it is at the beginning and at the end.
    pub(super) fn specify(&self, pod: PodSpec) -> PodSpec {
        let pod = pod
            .node(self.node)
            .annotate("config.linkerd.io/opaque-ports", OPAQUE)
            .annotate("config.weft.dev/splice-ports", SPLICED);
        match self.role {
            Role::Unmeshed => pod.unmeshed(),
            Role::Guarded => pod.meshed().policy("all-authenticated"),
            Role::PolicyChanges => pod.meshed().fail_mode("closed"),
            Role::Shop => pod.meshed().app(SHOP),
            Role::Stable | Role::Replaced => pod.meshed(),
            // Otherwise those of before it joined would be closed when they pause.
            Role::Joining => pod.meshed().annotate("config.weft.dev/earlier-connections", "keep"),
        }
    }

    /// Whether clients have to learn of its changes.
    pub(super) fn changes(&self) -> bool {
        matches!(self.role, Role::Joining | Role::Replaced | Role::Shop)
    }

    /// Whether its connections go directly while no proxy serves it.
    pub(super) fn fails_open(&self) -> bool {
        !matches!(self.role, Role::Guarded | Role::PolicyChanges)
    }
}

/// The pods of a role.
pub(super) fn of(role: Role) -> Vec<TestPod> {
    TEST_PODS.into_iter().filter(|test_pod| test_pod.role == role).collect()
}
