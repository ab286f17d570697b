//! The chart of weft-viz: `weft viz install` gives the same objects as helm.

use libtest_mimic::Trial;

use crate::{
    helm::{chart, helm, objects, same, weft},
    programs::Programs,
};

/// Options that helm has, too.
const MATRIX: &[(&str, &[&str])] = &[
    ("defaults", &[]),
    ("high_availability", &["-f", "values-ha.yaml"]),
    ("no_prometheus", &["--set", "prometheus.enabled=false"]),
    (
        "a_prometheus_of_ones_own",
        &[
            "--set",
            "prometheus.enabled=false,prometheusUrl=http://prometheus.monitoring:9090,prometheusCredsSecret=x",
        ],
    ),
    (
        "a_prometheus_with_a_private_authority",
        &["--set", "prometheus.enabled=false,prometheusUrl=https://prometheus,prometheusCAConfigMap=ca"],
    ),
    (
        "history_on_a_volume",
        &[
            "--set",
            "prometheus.retention=7d,prometheus.persistence.enabled=true,prometheus.persistence.size=20Gi",
        ],
    ),
    ("grafana", &["--set", "grafana.externalUrl=https://grafana.example.org,grafana.uidPrefix=a-"]),
    (
        "a_dashboard_behind_an_ingress",
        &["--set-string", "dashboard.enforcedHostRegexp=^dashboard\\.example\\.org$"],
    ),
    ("fewer_rights", &["--set", "dashboard.restrictPrivileges=true"]),
    ("images", &["--set", "imageRegistry=localhost:5000,weftVersion=9.9.9,imagePullSecrets[0].name=x"]),
    ("headers", &["--set", "tap.ignoreHeaders={x-secret,x-token}"]),
];

pub(crate) fn trials(programs: &Programs) -> Vec<Trial> {
    let trial = |(name, options): &(&str, &'static [&'static str])| {
        let (programs, options) = (programs.clone(), *options);
        Trial::test(format!("viz_install_and_helm_agree_on_{name}"), move || agree(&programs, options))
    };
    MATRIX.iter().map(trial).collect()
}

fn agree(programs: &Programs, options: &[&str]) -> Result<(), libtest_mimic::Failed> {
    let file = chart("weft-viz").join("values-ha.yaml").display().to_string();
    let options: Vec<&str> =
        options.iter().map(|one| if *one == "values-ha.yaml" { file.as_str() } else { one }).collect();
    let ours = [&["viz", "install", "--ignore-cluster", "--viz-namespace", "weft"], &options[..]].concat();
    let theirs = [&["--set", "installNamespace=true,linkerdNamespace=weft"], &options[..]].concat();
    same(&objects(&weft(&ours)), &objects(&helm(programs, "weft-viz", &theirs)))
}
