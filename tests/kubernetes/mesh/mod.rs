//! What users of a cluster rely on: rollouts, failures, rotations, probes, addresses, policies and tokens.
//!
//! All scenarios share one installation of weft, and each has a namespace of its own. Those that disturb the whole mesh
//! come last.

mod addressing;
mod etcd;
mod failures;
mod load;
mod manifests;
mod outage;
mod pods;
mod policy;
mod rollout;
mod rotation;
mod tokens;

use std::time::Duration;

use weft_tests::suite::Area;

/// The first one starts the cluster and installs weft.
const LIMIT: Duration = Duration::from_secs(900);

pub(crate) fn area() -> Area {
    Area::without_cluster("kubernetes::mesh")
        .bare(
            "probes_are_let_in_under_deny",
            "Startup, readiness and liveness probes by HTTP, gRPC and TCP succeed under `deny`, which refuses a meshed \
             client.",
            pods::probes_are_let_in_under_deny,
        )
        .within(LIMIT)
        .bare(
            "servers_see_the_clients_addresses",
            "A server sees the address of the client's pod, by mTLS between nodes, within a node, and through a service.",
            pods::servers_see_the_clients_addresses,
        )
        .within(LIMIT)
        .bare(
            "a_job_ends_as_without_a_mesh",
            "A Job's meshed pod sends its request, completes, and leaves the mesh without an error.",
            pods::a_job_ends_as_without_a_mesh,
        )
        .within(LIMIT)
        .bare(
            "pods_of_a_stateful_set_have_names",
            "Each pod of a StatefulSet is reached at its own name, and one of them at that of their headless service; \
             metrics have the StatefulSet's name.",
            addressing::pods_of_a_stateful_set_have_names,
        )
        .within(LIMIT)
        .bare(
            "a_named_port_is_each_pods_own",
            "A service's named target port leads to pods for which the name is another number.",
            addressing::a_named_port_is_each_pods_own,
        )
        .within(LIMIT)
        .bare(
            "local_traffic_stays_on_its_node",
            "A service with internalTrafficPolicy Local leads to the pod of the client's own node; metrics have the names \
             of the DaemonSet, and of clients that a Job or a CronJob owns.",
            addressing::local_traffic_stays_on_its_node,
        )
        .within(LIMIT)
        .bare(
            "policies_apply_at_once",
            "A Server applied with kubectl refuses a client a moment later; an authorization lets it in; without the \
             Server everything is as before.",
            policy::policies_apply_at_once,
        )
        .within(LIMIT)
        .bare(
            "tokens_give_nothing_to_others",
            "The control plane refuses forged and expired tokens, those of other service accounts, and a node proxy's \
             for another node or for an identity that its node does not have.",
            tokens::tokens_give_nothing_to_others,
        )
        .within(LIMIT)
        .bare(
            "a_rollout_of_a_deployment_loses_no_request",
            "While all pods of a Deployment are replaced, every request of clients on both nodes is answered.",
            rollout::a_rollout_of_a_deployment_loses_no_request,
        )
        .within(LIMIT)
        .bare(
            "a_killed_proxy_comes_back",
            "When a node proxy is killed, its connections are reset; no plaintext reaches a pod that requires an \
             identity; requests succeed again when the kubelet has restarted it.",
            failures::a_killed_proxy_comes_back,
        )
        .within(LIMIT)
        .bare(
            "one_of_two_replicas_is_killed",
            "When one replica of the control plane dies, every request is answered, and a pod that starts then is \
             meshed.",
            failures::one_of_two_replicas_is_killed,
        )
        .within(LIMIT)
        .bare(
            "roots_rotate_under_load",
            "The issuer and the trust anchor are replaced, with an overlap and no restart, each step when `weft check` says \
             so, and every request is answered by mTLS.",
            rotation::roots_rotate_under_load,
        )
        .within(LIMIT)
        .bare(
            "traffic_outlives_an_outage_of_the_api_server",
            "While the API server is away for a minute, every request is answered; policies that came and went meanwhile \
             apply when it is back, and new pods are meshed.",
            outage::traffic_outlives_an_outage_of_the_api_server,
        )
        .within(LIMIT)
}
