//! Rates, bytes and counts of connections agree with what was counted, in the world of the other figures.

use serde_json::{Value, json};

use crate::{
    accuracy::{TOLERANCE, find, world},
    shop,
};

#[test]
fn rates_are_of_the_time_that_is_known_if_the_window_is_longer() {
    let world = world();
    let warning = |answer: &Value| {
        let mut all = answer["meta"]["warnings"].as_array().unwrap().iter();
        all.any(|warning| warning["code"] == "history_too_short")
    };
    for window in ["10m", "6h"] {
        let path = format!("/api/tps-reports?type=deployment&namespace=shop&name=web&window={window}");
        let (before, answer) = (world.age(), world.viz.get(&path).json());
        let http = &answer["data"][0]["http"];
        // The answer is of the last full second, and the first scrape is found within two.
        let known = http["requests"].as_f64().unwrap() / http["rps"].as_f64().unwrap();
        assert!(known > before - 4.0 && known <= world.age(), "{known} s of {before} s: {http}");
        assert!(warning(&answer), "{}", answer["meta"]);
    }
}

#[test]
fn bytes_of_a_service_are_what_its_pods_read_and_wrote() {
    let world = world();
    let tcp = |resource: &str| {
        let rows = world.viz.data(&format!("/api/tps-reports?namespace=shop&{resource}&window=10m"));
        let of = |name: &str| rows[0]["tcp"][name].as_f64().unwrap();
        // Both counts are extrapolated alike, so their relation is exact.
        of("writeBytesPerSecond") / of("readBytesPerSecond")
    };
    let relation = shop::BYTES.0 / shop::BYTES.1;
    for resource in ["type=deployment&name=web", "type=service&name=web-svc"] {
        assert!((tcp(resource) / relation - 1.0).abs() < 1e-6, "{resource}");
    }
    // Between two resources, it is what the source read and wrote.
    let to_web = "type=deployment&name=bot&to_namespace=shop&to_type=deployment&to_name=web";
    assert!((tcp(to_web) * relation - 1.0).abs() < 1e-6, "{}", tcp(to_web));
    let detail = world.viz.data("/api/resource/shop/service/web-svc?window=10m")["row"]["tcp"].clone();
    assert!(detail["writeBytesPerSecond"].as_f64() > detail["readBytesPerSecond"].as_f64(), "{detail}");
}

#[test]
fn connections_that_are_not_http_are_counted_by_what_allowed_them() {
    let world = world();
    let is_counted = |row: &Value| {
        let found = row["connections"].as_f64().unwrap();
        assert!((found / shop::CONNECTIONS - 1.0).abs() < TOLERANCE, "{row}");
        assert_eq!(row["http"], Value::Null, "{row}");
    };
    let rows = world.viz.data("/api/authz?namespace=shop&type=statefulset&name=store&window=10m");
    let row = rows.as_array().unwrap().iter().find(|row| row["server"] == "store-tcp").unwrap();
    assert_eq!(
        (&row["authorization"], &row["deniedRps"]),
        (&json!("serverauthorization/store-from-web"), &json!(0.0))
    );
    is_counted(row);
    let reports =
        |kind: &str| world.viz.data(&format!("/api/policy-reports?type={kind}&namespace=shop&window=10m"));
    is_counted(find(&reports("server"), "store-tcp"));
    let authorizations = reports("serverauthorization");
    assert_eq!(find(&authorizations, "store-from-web")["server"], "store-tcp");
    is_counted(find(&authorizations, "store-from-web"));
}
