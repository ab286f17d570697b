//! weft-viz on the cluster: from `weft viz install` to the dashboard behind an Ingress.

mod checks;
mod dashboard;
mod find;
mod grafana;
mod history;
mod ingress;
mod installed;
mod taps;

use std::time::Duration;

use weft_tests::suite::Area;

/// The first one installs weft, the demo and weft-viz.
const LIMIT: Duration = Duration::from_secs(900);
/// Deployments are scaled and restarted.
const CHECKS_LIMIT: Duration = Duration::from_secs(1_200);

pub(crate) fn area() -> Area {
    Area::without_cluster("kubernetes::viz")
        .bare(
            "stat_finds_what_fails",
            "`weft viz stat` shows that voting fails and emoji does not, for deployments, pods and services.",
            find::stat_finds_what_fails,
        )
        .within(LIMIT)
        .bare(
            "tap_shows_the_call_that_fails",
            "`weft viz tap` shows VoteDoughnut, which ends with the gRPC status Unknown, and calls that end well.",
            find::tap_shows_the_call_that_fails,
        )
        .within(LIMIT)
        .bare(
            "edges_are_secured",
            "`weft viz edges` lists the demo's calls, all of them secured, with the identities of both ends.",
            find::edges_are_secured,
        )
        .within(LIMIT)
        .bare(
            "taps_need_the_right_to_watch",
            "A user who may not watch a resource's tap is refused, in each namespace; a RoleBinding lets them in.",
            taps::taps_need_the_right_to_watch,
        )
        .within(LIMIT)
        .bare(
            "pods_opt_out_of_taps",
            "Pods of a namespace with viz.linkerd.io/disable-tap are not tapped.",
            taps::pods_opt_out_of_taps,
        )
        .within(LIMIT)
        .bare(
            "the_dashboard_is_forwarded",
            "`weft viz dashboard` makes the dashboard reachable; it answers to its own names and to no other Host.",
            dashboard::the_dashboard_is_forwarded,
        )
        .within(LIMIT)
        .bare(
            "the_dashboard_works_behind_an_ingress",
            "Behind nginx, configured as the documented Ingress configures it, pages, the API and live calls arrive after a \
             login; with the browser's Host or a foreign Origin they are refused.",
            ingress::the_dashboard_works_behind_an_ingress,
        )
        .within(LIMIT)
        .bare(
            "every_panel_of_containers_has_data",
            "Every query of Grafana's dashboard of containers returns data from the Prometheus of the cluster.",
            grafana::every_panel_of_containers_has_data,
        )
        .within(LIMIT)
        .bare(
            "a_volume_keeps_figures_over_a_restart_of_prometheus",
            "With prometheus.persistence.enabled, figures of before the pod was replaced are still there.",
            history::a_volume_keeps_figures_over_a_restart_of_prometheus,
        )
        .within(LIMIT)
        .bare(
            "check_fails_for_each_reason",
            "`weft viz check` finds each way in which weft-viz is broken, with an explanation and a hint, and passes afterwards.",
            checks::check_fails_for_each_reason,
        )
        .within(CHECKS_LIMIT)
        .bare(
            "uninstalling_leaves_nothing",
            "`weft viz uninstall | kubectl delete -f -` removes everything of weft-viz, and the demo stays meshed.",
            installed::uninstalling_leaves_nothing,
        )
        .within(LIMIT)
}
