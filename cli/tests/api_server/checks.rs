//! Every check fails for the right reason, and prints the hint that helps.

use std::{collections::BTreeSet, sync::Arc};

use libtest_mimic::Trial;

use crate::{
    api_server::kubeconfig_text,
    failures::{self, Failure},
    lab::{Found, Lab},
    lazy::Lazy,
    objects,
};

pub(crate) fn trials(lab: &Arc<Lazy>) -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Lab)| {
        let lab = lab.clone();
        Trial::test(name, move || {
            installed(lab.get());
            test(lab.get());
            Ok(())
        })
    };
    let mut trials = vec![
        trial("an_installation_that_works_passes", healthy),
        trial("a_user_without_rights_gets_failures_and_no_passes", unreadable),
        trial("an_api_server_that_is_away_is_a_failure", away),
        trial("a_kubeconfig_that_cannot_be_used_is_a_failure", unusable),
        trial("every_check_has_a_state_in_which_it_fails", complete),
        trial("the_table_shows_the_reason_and_the_hint", table),
    ];
    trials.extend(failures::all().map(|failure| {
        let lab = lab.clone();
        Trial::test(failure.name, move || {
            installed(lab.get());
            fails(lab.get(), failure);
            Ok(())
        })
    }));
    trials
}

/// The tests of the commands may not have run.
pub(crate) fn installed(lab: &Lab) {
    let there = lab.try_kubectl(&["-n", "weft", "get", "cm", "weft-config"], "").status.success();
    if !there {
        for args in [&["install", "--crds"][..], &["install"]] {
            let output = lab.weft(args, "");
            lab.kubectl(&["apply", "-f", "-"], &String::from_utf8(output.stdout).unwrap());
        }
        objects::after_install(lab);
    }
    objects::demo(lab);
    // Tests of commands show other pages.
    objects::healthy_pages(lab);
    failures::renew(lab);
}

/// Only a kubelet could forward a port to the webhook.
const NEEDS_A_KUBELET: &str = "policy-validator webhook has valid cert";

fn problems(found: &[Found]) -> Vec<&Found> {
    found.iter().filter(|check| check.result != "success" && check.description != NEEDS_A_KUBELET).collect()
}

fn healthy(lab: &Lab) {
    for options in [&[][..], &["--crds"], &["--proxy"], &["--proxy", "-n", "demo"]] {
        let found = lab.check(options);
        assert!(problems(&found).is_empty(), "{:#?}", problems(&found));
        assert!(found.len() > 3);
        assert_eq!(found[0].category, "kubernetes-api");
    }
}

fn fails(lab: &Lab, failure: &Failure) {
    (failure.break_it)(lab);
    let found = lab.check(failure.options);
    (failure.mend_it)(lab);
    let check = found.iter().find(|check| check.description == failure.description);
    let check = check.unwrap_or_else(|| panic!("{} did not run: {found:#?}", failure.description));
    assert_eq!(check.result, failure.result, "{check:#?}");
    for text in failure.says {
        assert!(check.error.contains(text), "{text:?} is missing in {check:#?}");
    }
    let hint = format!("https://github.com/weft-mesh/weft/blob/main/docs/check.md#{}", failure.anchor);
    assert_eq!(check.hint, hint);
    let mended = lab.check(failure.healthy.unwrap_or(failure.options));
    let mended = mended.iter().find(|check| check.description == failure.description);
    assert!(
        mended.is_some_and(|check| check.result == "success") || failure.description == NEEDS_A_KUBELET,
        "{mended:#?}"
    );
}

/// What cannot be read has not been found well.
fn unreadable(lab: &Lab) {
    let harmless = ["can initialize the client", "can query the Kubernetes API", "cli is up-to-date"];
    for options in [&["--pre"][..], &[], &["--proxy"], &["--crds"]] {
        for check in lab.check_as("kubeconfig-nobody", options) {
            let passes = check.result == "success";
            let version = check.description.starts_with("is running the minimum");
            assert!(!passes || version || harmless.contains(&check.description.as_str()), "{check:#?}");
        }
    }
}

fn away(lab: &Lab) {
    lab.write("kubeconfig-away", &kubeconfig_text("https://127.0.0.1:1", "admin"));
    let found = lab.check_as("kubeconfig-away", &[]);
    let last = found.last().unwrap();
    assert_eq!((last.description.as_str(), last.result.as_str()), ("can query the Kubernetes API", "error"));
    assert!(last.error.contains("the API server does not answer"), "{last:#?}");
    assert!(last.hint.ends_with("#k8s-api"));
}

fn unusable(lab: &Lab) {
    let found = lab.check_as("does-not-exist", &[]);
    assert_eq!(found.len(), 1, "nothing can be checked without a client");
    assert_eq!(
        (found[0].description.as_str(), found[0].result.as_str()),
        ("can initialize the client", "error")
    );
    assert!(
        found[0].error.contains("does-not-exist") && found[0].hint.ends_with("#k8s-api"),
        "{:#?}",
        found[0]
    );
}

/// The version of the API server cannot be changed: a unit test covers it.
fn complete(lab: &Lab) {
    let mut descriptions = BTreeSet::new();
    for options in [&["--pre"][..], &[], &["--proxy", "-n", "demo"], &["--crds"]] {
        descriptions.extend(lab.check(options).into_iter().map(|check| check.description));
    }
    let elsewhere = [
        "can initialize the client",
        "can query the Kubernetes API",
        "is running the minimum Kubernetes API version (1.31.0)",
    ];
    for description in descriptions {
        let covered = failures::all().any(|failure| failure.description == description);
        assert!(covered || elsewhere.contains(&description.as_str()), "no test lets {description:?} fail");
    }
}

fn table(lab: &Lab) {
    let output = lab.weft(&["check", "--pre", "-o", "short"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "pre-kubernetes-setup\n--------------------\n\
         × control plane namespace does not already exist\n    \
         The \"weft\" namespace already exists\n    \
         see https://github.com/weft-mesh/weft/blob/main/docs/check.md#pre-ns for hints\n\n\
         Status check results are ×\n"
    );
}
