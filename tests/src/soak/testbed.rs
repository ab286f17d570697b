//! Which cluster is soaked, and what is each pod of it there for?

use crate::mesh::{Description, PodSpec, mesh};

/// What happens to a pod during a soak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: it is meshed and open to everybody.
    Steady,
    /// Nothing: it asks everybody for an identity.
    Guarded,
    /// Its policy changes between "everybody" and "nobody". It fails closed, as who is guarded.
    Ruled,
    /// It joins and leaves the mesh.
    Roamer,
    /// It is deleted and made again.
    Mortal,
    /// It enters and leaves the service [`SHOP`], by which alone it is called.
    Shop,
    /// Nothing: it is not meshed.
    Stranger,
}

/// A pod of the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) node: &'static str,
    pub(super) role: Role,
}

const fn place(name: &'static str, node: &'static str, role: Role) -> Place {
    Place { name, node, role }
}

pub(super) const PLACES: [Place; 14] = [
    place("steady-a", "a", Role::Steady),
    place("steady-b", "b", Role::Steady),
    place("guarded-a", "a", Role::Guarded),
    place("guarded-b", "b", Role::Guarded),
    place("ruled-a", "a", Role::Ruled),
    place("ruled-b", "b", Role::Ruled),
    place("roamer-a", "a", Role::Roamer),
    place("roamer-b", "b", Role::Roamer),
    place("mortal-a", "a", Role::Mortal),
    place("mortal-b", "b", Role::Mortal),
    place("shop-1", "a", Role::Shop),
    place("shop-2", "b", Role::Shop),
    place("shop-3", "b", Role::Shop),
    place("stranger", "a", Role::Stranger),
];

/// The service with several pods.
pub(super) const SHOP: &str = "shop";

/// The ports of byte-checked exchanges: by the proxy; directly within a node; spliced within a node.
pub(super) const EXCHANGES: [u16; 3] = [8080, 8081, 8082];
/// The ports of echoes: as above.
pub(super) const ECHOES: [u16; 3] = [8083, 8084, 8085];
/// The first of them.
pub(super) const ECHO: u16 = ECHOES[0];
/// The port of an echo that greets first.
pub(super) const GREETER: u16 = 8086;
const OPAQUE: &str = "8081,8084";
const SPLICED: &str = "8082,8085";
/// The greeting.
pub(super) const GREETING: &str = "220 at your service\r\n";

/// Old processes end within this time after a takeover, whatever still goes through them.
const DRAIN: &str = "--drain-timeout=60s";

pub(super) fn description() -> Description {
    let services = PLACES.iter().filter(|place| place.role != Role::Shop).map(|place| place.name);
    let cluster = services.chain([SHOP]).fold(mesh("soak"), |cluster, name| {
        cluster.service(name, |service| (EXCHANGES[0]..=GREETER).fold(service, |s, port| s.port(port, port)))
    });
    // Certificates are renewed all the time.
    let cluster = cluster.control_arg("--issuance-lifetime=60s").proxy_arg(DRAIN);
    PLACES.iter().fold(cluster, |cluster, place| cluster.pod(place.name, |pod| place.specify(pod)))
}

impl Place {
    /// The pod as it is in the beginning, and in the end.
    pub(super) fn specify(&self, pod: PodSpec) -> PodSpec {
        let pod = pod
            .node(self.node)
            .annotate("config.linkerd.io/opaque-ports", OPAQUE)
            .annotate("config.weft.dev/splice-ports", SPLICED);
        match self.role {
            Role::Stranger => pod.unmeshed(),
            Role::Guarded => pod.meshed().policy("all-authenticated"),
            Role::Ruled => pod.meshed().fail_mode("closed"),
            Role::Shop => pod.meshed().app(SHOP),
            Role::Steady | Role::Roamer | Role::Mortal => pod.meshed(),
        }
    }

    /// Whether others have to hear of what becomes of it.
    pub(super) fn changes(&self) -> bool {
        matches!(self.role, Role::Roamer | Role::Mortal | Role::Shop)
    }

    /// Whether its connections go directly while no proxy serves it.
    pub(super) fn fails_open(&self) -> bool {
        !matches!(self.role, Role::Guarded | Role::Ruled)
    }
}

/// The pods of a role.
pub(super) fn of(role: Role) -> Vec<Place> {
    PLACES.into_iter().filter(|place| place.role == role).collect()
}
