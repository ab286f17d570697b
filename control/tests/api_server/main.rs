//! weft-control against a real API server: etcd and kube-apiserver, without any node.
//!
//! One test, because starting an API server takes longer than everything else here. Its steps are functions whose names
//! are what they show.

// The lint knows tests by their attribute, and most of this is in functions beside them.
#![allow(clippy::unwrap_used)]

mod api_server;
mod link;
mod objects;
mod outages;
mod policies;
mod programs;
mod rights;
mod running;

use std::path::Path;

use self::{api_server::ApiServer, link::Link, programs::Programs, running::Running};

#[tokio::test(flavor = "multi_thread")]
async fn weft_control_with_a_real_api_server() {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let mut server = ApiServer::start(programs).await;
    let client = server.client().await;
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts");
    let token = rights::install(&server, &client, &chart).await;
    let link = Link::to(server.address()).await;
    let kubeconfig = server.kubeconfig("weft-control", link.address(), &token);

    // From here on, weft-control has the rights of its chart, and no others.
    outages::it_is_not_ready_before_it_has_read_everything(&link, &kubeconfig).await;
    let control = Running::start(kubeconfig.clone()).await;
    objects::a_missing_definition_is_reported_and_everything_else_works(&control, &server).await;
    server.apply(&chart.join("weft-crds/templates"));
    objects::a_kind_is_read_as_soon_as_it_is_defined(&control, &server).await;
    objects::objects_appear_change_and_vanish(&control, &client).await;
    objects::a_burst_of_changes_arrives_completely(&control, &client).await;
    outages::while_the_api_server_is_away_the_last_state_applies(&control, &link, &client).await;
    outages::without_the_changes_that_it_missed_it_lists_everything_again(
        &control,
        &link,
        &mut server,
        &client,
    )
    .await;

    policies::definitions_refuse_mistakes_that_a_schema_can_find(&server);
    policies::the_webhook_refuses_the_others_and_names_the_field(&control, &server, &client).await;
    policies::a_bad_policy_that_was_stored_anyway_is_ignored(&control, &server, &client).await;
    control.stop().await;
    rights::without_any_one_right_something_fails_and_says_so(&client, &kubeconfig).await;
}
