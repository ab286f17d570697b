//! `weft install` and `helm template` give the same objects for the same values.

use std::{collections::BTreeMap, path::Path, process::Command};

use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::programs::Programs;

/// Options that both tools have.
const MATRIX: &[(&str, &[&str])] = &[
    ("defaults", &[]),
    ("high_availability", &["-f", "values-ha.yaml"]),
    ("high_availability_with_two_replicas", &["-f", "values-ha.yaml", "--set", "controllerReplicas=2"]),
    ("no_namespace", &["--set", "installNamespace=false"]),
    (
        "external_certificates",
        &["--set", "identity.externalCA=true,identity.issuer.scheme=kubernetes.io/tls"],
    ),
    ("other_domains", &["--set", "clusterDomain=example.org,identityTrustDomain=mesh.example.org"]),
    (
        "images",
        &[
            "--set",
            "imageRegistry=localhost:5000,imagePullPolicy=Always,weftVersion=9.9.9",
            "--set",
            "imagePullSecrets[0].name=x",
        ],
    ),
    (
        "scheduling",
        &[
            "--set",
            "tolerations[0].operator=Exists,priorityClassName=p,nodeSelector.a=b,podLabels.team=yes",
            "--set-string",
            "podAnnotations.number=1,podAnnotations.example\\.org/x=true",
        ],
    ),
    ("a_removed_default", &["--set", "nodeSelector=null,revisionHistoryLimit=0"]),
    ("resources", &["--set", "controllerResources.cpu.request=1,controllerResources.memory.limit=1Gi"]),
    (
        "proxies",
        &[
            "--set",
            "proxy.logFormat=json,proxy.nri.enabled=false,proxy.shutdownGracePeriod=10s,proxy.resources.memory.limit=1Gi",
            "--set",
            "proxy.additionalEnv[0].name=A,proxy.additionalEnv[0].value=on",
        ],
    ),
    (
        "settings_of_the_whole_cluster",
        &[
            "--set",
            "proxy.defaultInboundPolicy=deny,proxy.opaquePorts=25,proxyInit.ignoreInboundPorts=80\\,8000-8080",
            "--set-string",
            "proxyInit.ignoreOutboundPorts=,proxyInit.skipSubnets=10.1.0.0/16,proxy.accessLog=json",
        ],
    ),
    ("text_with_newlines", &["--set", "podAnnotations.a=x\ny: z"]),
    ("numbers_as_text", &["--set-string", "controllerLogLevel=1e3"]),
];

pub(crate) fn trials(programs: &Programs) -> Vec<Trial> {
    let mut trials: Vec<_> = MATRIX
        .iter()
        .map(|(name, options)| {
            let programs = programs.clone();
            Trial::test(format!("install_and_helm_agree_on_{name}"), move || agree(&programs, options))
        })
        .collect();
    let own = programs.clone();
    trials.push(Trial::test("install_and_helm_agree_on_the_crds", move || {
        let ours = objects(&weft(&["install", "--crds", "--ignore-cluster"]));
        same(&ours, &objects(&helm(&own, "weft-crds", &[])))
    }));
    let own = programs.clone();
    trials.push(Trial::test("both_refuse_a_value_that_does_not_exist", move || {
        refused(&own, "--set", "controlerReplicas=3")
    }));
    let own = programs.clone();
    trials.push(Trial::test("both_refuse_a_value_of_another_type", move || {
        refused(&own, "--set", "controllerReplicas=many")
    }));
    for (name, value) in [
        ("a_policy_that_does_not_exist", "proxy.defaultInboundPolicy=open"),
        ("ports_that_are_none", "proxyInit.ignoreInboundPorts=http"),
        ("an_amount_that_is_none", "proxy.resources.memory.limit=much"),
        ("networks_that_are_none", "proxyInit.skipSubnets=10.1.0.0"),
    ] {
        let own = programs.clone();
        trials.push(Trial::test(format!("both_refuse_{name}"), move || refused(&own, "--set", value)));
    }
    trials
}

fn agree(programs: &Programs, options: &[&str]) -> Result<(), libtest_mimic::Failed> {
    let chart = chart("weft-control-plane");
    let file = chart.join("values-ha.yaml").display().to_string();
    let options: Vec<&str> =
        options.iter().map(|one| if *one == "values-ha.yaml" { file.as_str() } else { one }).collect();
    let mut ours = vec!["install", "--ignore-cluster"];
    ours.extend(&options);
    let ours = objects(&weft(&ours));

    // The certificates and the copy of the options that weft makes are values for helm.
    let anchors = ours.get("ConfigMap/weft-identity-trust-roots").map(|o| o["data"]["ca-bundle.crt"].clone());
    let issuer = ours.get("Secret/weft-identity-issuer");
    let data = |name: &str| issuer.map(|secret| decode(&secret["data"][name])).unwrap_or_default();
    let config = &ours["ConfigMap/weft-config"]["data"];
    let made = json!({
        "identityTrustAnchorsPEM": anchors.unwrap_or_default().as_str().unwrap_or_default(),
        "identity": { "issuer": { "tls": { "crtPEM": config["values"]["identity"]["issuer"]["tls"]["crtPEM"], "keyPEM": data("key.pem") } } },
        "installNamespace": true,
        "installOverrides": config["overrides"],
    });
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.yaml");
    std::fs::write(&path, made.to_string())?;
    let path = path.display().to_string();
    let mut theirs = vec!["-f", &path];
    theirs.extend(&options);
    same(&ours, &objects(&helm(programs, "weft-control-plane", &theirs)))
}

pub(crate) fn same(
    ours: &BTreeMap<String, Value>,
    theirs: &BTreeMap<String, Value>,
) -> Result<(), libtest_mimic::Failed> {
    assert!(!ours.is_empty());
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(ours), names(theirs));
    for (name, object) in ours {
        assert_eq!(object, &theirs[name], "{name}: weft install is left, helm template right");
    }
    Ok(())
}

fn refused(programs: &Programs, flag: &str, value: &str) -> Result<(), libtest_mimic::Failed> {
    let ours = Command::new(env!("CARGO_BIN_EXE_weft"))
        .args(["install", "--ignore-cluster", flag, value])
        .output()?;
    let theirs = helm_command(programs, "weft-control-plane", &[flag, value]).output()?;
    assert!(!ours.status.success() && !theirs.status.success());
    let name = value.split('=').next().unwrap();
    for output in [ours, theirs] {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // helm writes paths as /proxy/opaquePorts or proxy.opaquePorts, depending on its version.
        assert!(text.replace('/', ".").contains(name), "{text}");
    }
    Ok(())
}

pub(crate) fn weft(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_weft")).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn helm(programs: &Programs, chart: &str, args: &[&str]) -> String {
    let output = helm_command(programs, chart, args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn helm_command(programs: &Programs, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(&programs.helm);
    command
        .args(["template", "weft"])
        .arg(chart(name))
        .args(["-n", "weft", "--kube-version", "1.33.0"])
        .args(args);
    command
}

pub(crate) fn chart(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts").join(name)
}

/// By kind and name. Texts that are YAML themselves are compared as what they say.
pub(crate) fn objects(text: &str) -> BTreeMap<String, Value> {
    let mut objects = BTreeMap::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let mut object = Value::deserialize(document).unwrap();
        if object.is_null() {
            continue;
        }
        let name =
            format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        if name == "ConfigMap/weft-config" {
            let values = object["data"]["values"].as_str().unwrap();
            object["data"]["values"] = serde_yaml_ng::from_str(values).unwrap();
        }
        if name == "ConfigMap/prometheus-config" {
            for text in object["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
                *text = serde_yaml_ng::from_str(text.as_str().unwrap()).unwrap();
            }
        }
        assert!(objects.insert(name.clone(), object).is_none(), "{name} is there twice");
    }
    objects
}

pub(crate) fn decode(value: &Value) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}
