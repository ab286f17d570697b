//! Proves from both ends' metrics that HTTP and gRPC requests are carried, between nodes and within one, and that a
//! failing workload is seen to fail.

use std::collections::BTreeMap;

use super::proof::{FORMS, identity, same_account};
use super::{NodePage, Pods, Proof, destination_pod, own};
use crate::prom::{Sample, sum};

/// The two ends' counters are read one after the other: they may differ by a quarter and this many requests.
const SLACK: f64 = 20.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Grpc,
}

/// Responses between two pods, as one proxy counted them.
#[derive(Clone, Debug, Default)]
struct Flow {
    responses: f64,
    /// The other end's identity.
    peer: String,
    /// The pods that sent the requests.
    sources: Vec<String>,
}

/// By the source's identity, and the destination's pod.
type Flows = BTreeMap<(String, String), Flow>;

/// Looks for both protocols in both forms. A pair counts only if both proxies agree about it.
pub fn prove_http(pages: &[NodePage], pods: &Pods) -> Proof {
    let mut proof = Proof::default();
    for protocol in [Protocol::Http, Protocol::Grpc] {
        for (tls, form) in FORMS {
            let (outbound, inbound) = flows(pages, pods, protocol, tls);
            let what = format!("{}, {form}", protocol.name());
            let mut reasons = Vec::new();
            let before = proof.found.len();
            for ((source, destination), client) in &outbound {
                let pair = format!("{} -> {destination}", client.sources.join(" + "));
                let server = inbound.get(&(source.clone(), destination.clone()));
                match check(pods, destination, client, server, tls) {
                    Ok(line) => proof.found.push(format!("{what}: {pair}: {line}")),
                    Err(reason) => reasons.push(format!("{pair}: {reason}")),
                }
            }
            if proof.found.len() == before {
                let why = match reasons.as_slice() {
                    [] => format!("no outbound response_total with tls=\"{tls}\" counts any"),
                    reasons => reasons.join("; "),
                };
                proof.missing.push(format!("{what}: {why}"));
            }
        }
    }
    proof
}

/// Whether requests to a deployment succeed and fail, as its pods' proxies count them.
pub fn prove_failures(pages: &[NodePage], namespace: &str, deployment: &str) -> Proof {
    let count = |classification: &str| -> u64 {
        let labels = [
            ("direction", "inbound"),
            ("namespace", namespace),
            ("deployment", deployment),
            ("classification", classification),
        ];
        let of_node = |page: &NodePage| sum(&page.samples, "response_total", &labels) as u64;
        pages.iter().map(of_node).sum()
    };
    let (success, failure) = (count("success"), count("failure"));
    let mut proof = Proof::default();
    let line = format!("{namespace}/{deployment}: {failure} of {} requests failed", success + failure);
    match success > 0 && failure > 0 {
        true => proof.found.push(line),
        false => proof.missing.push(format!("{line}; some should fail and some succeed")),
    }
    proof
}

fn flows(pages: &[NodePage], pods: &Pods, protocol: Protocol, tls: &str) -> (Flows, Flows) {
    let (mut outbound, mut inbound) = (Flows::new(), Flows::new());
    let samples = pages.iter().flat_map(|page| &page.samples);
    for sample in samples.filter(|sample| {
        sample.name == "response_total"
            && sample.label("tls") == tls
            && sample.value > 0.0
            && Protocol::of(sample) == protocol
    }) {
        let Some(own) = own(sample) else { continue };
        match sample.label("direction") {
            "outbound" => {
                let Some(info) = pods.get(&own) else { continue };
                let Some(destination) = destination_pod(sample, pods) else { continue };
                let flow = outbound.entry((identity(&own, &info.service_account), destination)).or_default();
                flow.add(sample, "server_id");
                if !flow.sources.contains(&own) {
                    flow.sources.push(own);
                }
            }
            "inbound" => {
                let client = sample.label("client_id").split(".serviceaccount.").next().unwrap_or_default();
                inbound.entry((client.to_owned(), own)).or_default().add(sample, "client_id");
            }
            _ => {}
        }
    }
    (outbound, inbound)
}

fn check(
    pods: &Pods,
    destination: &str,
    client: &Flow,
    server: Option<&Flow>,
    tls: &str,
) -> Result<String, String> {
    let info = pods.get(destination).ok_or("the destination is not a pod of this cluster")?;
    let expected = identity(destination, &info.service_account);
    if !same_account(&client.peer, &expected) {
        return Err(format!("the source's proxy names server_id {:?}, not {expected}.…", client.peer));
    }
    let server = server.ok_or_else(|| {
        format!("the destination's proxy has no inbound response_total with tls=\"{tls}\" from it")
    })?;
    let (sent, answered) = (client.responses, server.responses);
    if (sent - answered).abs() > sent.max(answered) / 4.0 + SLACK {
        return Err(format!("the source counts {sent} responses, the destination {answered}"));
    }
    Ok(format!(
        "server_id={} client_id={} responses={sent}, {answered} at the server",
        client.peer, server.peer
    ))
}

impl Flow {
    fn add(&mut self, sample: &Sample, peer: &str) {
        self.responses += sample.value;
        self.peer = sample.label(peer).to_owned();
    }
}

impl Protocol {
    fn of(sample: &Sample) -> Self {
        if sample.label("grpc_status").is_empty() { Protocol::Http } else { Protocol::Grpc }
    }

    fn name(self) -> &'static str {
        match self {
            Protocol::Http => "HTTP",
            Protocol::Grpc => "gRPC",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PodInfo;
    use super::*;
    use crate::prom::parse;

    const ID: &str = "serviceaccount.identity.linkerd.cluster.local";

    fn pods() -> Pods {
        let pod = |node: &str, account: &str, ip: &str| PodInfo {
            node: node.to_owned(),
            service_account: account.to_owned(),
            ips: vec![ip.parse().unwrap()],
            ..PodInfo::default()
        };
        BTreeMap::from([
            ("shop/bot-a".to_owned(), pod("a", "default", "10.244.1.1")),
            ("shop/bot-b".to_owned(), pod("b", "default", "10.244.2.1")),
            ("shop/web".to_owned(), pod("a", "web", "10.244.1.2")),
            ("shop/voting-a".to_owned(), pod("a", "voting", "10.244.1.3")),
            ("shop/voting-b".to_owned(), pod("b", "voting", "10.244.2.2")),
        ])
    }

    /// A response between two pods, at both ends.
    fn pair(tls: &str, source: (&str, &str), to: (&str, &str), rest: &str, counts: [u32; 2]) -> [String; 2] {
        let ((pod, account), (server, server_account)) = (source, to);
        [
            format!(
                "response_total{{direction=\"outbound\",namespace=\"shop\",pod=\"{pod}\",dst_namespace=\"shop\",dst_pod=\"{server}\",tls=\"{tls}\",server_id=\"{server_account}.shop.{ID}\",{rest}}} {}\n",
                counts[0]
            ),
            format!(
                "response_total{{direction=\"inbound\",namespace=\"shop\",pod=\"{server}\",deployment=\"{server_account}\",tls=\"{tls}\",client_id=\"{account}.shop.{ID}\",{rest}}} {}\n",
                counts[1]
            ),
        ]
    }

    fn pages() -> Vec<NodePage> {
        let ok = "classification=\"success\",status_code=\"200\"";
        let done = format!("{ok},grpc_status=\"0\"");
        let broken = "classification=\"failure\",status_code=\"200\",grpc_status=\"2\"";
        let (bot, web) = (("bot-a", "default"), ("web", "web"));
        let [local, at_web] = pair("local", bot, web, ok, [50, 50]);
        let [cross, at_web_too] = pair("true", ("bot-b", "default"), web, ok, [50, 49]);
        let [same, at_a] = pair("local", web, ("voting-a", "voting"), &done, [30, 30]);
        let [same_broken, at_a_broken] = pair("local", web, ("voting-a", "voting"), broken, [5, 5]);
        let [far, at_b] = pair("true", web, ("voting-b", "voting"), &done, [30, 31]);
        let a = [local, at_web, at_web_too, same, at_a, same_broken, at_a_broken, far].concat();
        let page = |node: &str, text: &str| NodePage { node: node.to_owned(), samples: parse(text) };
        vec![page("a", &a), page("b", &(cross + &at_b))]
    }

    #[test]
    fn both_protocols_are_proven_in_both_forms() {
        let proof = prove_http(&pages(), &pods());
        assert_eq!(proof.missing, Vec::<String>::new());
        assert_eq!(proof.found.len(), 4, "{proof:#?}");
        let grpc = proof.found.iter().find(|line| line.starts_with("gRPC, same-node")).unwrap();
        assert!(grpc.contains("shop/web -> shop/voting-a") && grpc.contains("responses=35, 35"), "{grpc}");
    }

    #[test]
    fn what_one_end_does_not_count_is_missing() {
        let mut one_sided = pages();
        one_sided[1].samples.retain(|sample| sample.label("direction") == "outbound");
        let proof = prove_http(&one_sided, &pods());
        assert_eq!(proof.missing.len(), 1, "{proof:#?}");
        assert!(
            proof.missing[0]
                .starts_with("gRPC, cross-node, mTLS: shop/web -> shop/voting-b: the destination's")
        );

        let mut lossy = pages();
        lossy[0].samples.iter_mut().for_each(|sample| sample.value *= 10.0);
        let proof = prove_http(&lossy, &pods());
        assert!(proof.missing.iter().any(|line| line.contains("the destination 31")), "{proof:#?}");

        assert_eq!(prove_http(&[], &pods()).missing.len(), 4);
    }

    #[test]
    fn the_servers_identity_has_to_be_its_service_account() {
        let mut pods = pods();
        pods.get_mut("shop/web").unwrap().service_account = "other".to_owned();
        let proof = prove_http(&pages(), &pods);
        assert!(proof.missing[0].contains("not other.shop"), "{proof:#?}");
    }

    #[test]
    fn a_workload_without_failures_is_not_seen_to_fail() {
        let proof = prove_failures(&pages(), "shop", "voting");
        assert_eq!(proof.found, ["shop/voting: 5 of 66 requests failed"]);
        assert_eq!(prove_failures(&pages(), "shop", "web").missing.len(), 1);
        assert_eq!(prove_failures(&pages(), "shop", "none").missing.len(), 1);
    }
}
