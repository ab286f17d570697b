//! Exports for each pod whether this proxy serves it: what `up` is for a scraped target.

use std::{collections::HashMap, fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
use weft_api::node::State;

use super::report::StatusReporter;
use crate::{
    metrics::WorkloadLabels,
    workload::{Key, Registry},
};

const NAME: &str = "weft_workload_served";
const HELP: &str = "Whether this proxy serves the pod.";

/// The gauge `weft_workload_served`. Pods that are not served have no labels of their owner: only the control plane
/// knows it.
pub struct WorkloadCollector {
    pub registry: Arc<Registry>,
    pub reporter: Arc<StatusReporter>,
}

impl Collector for WorkloadCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut served: HashMap<Key, Arc<WorkloadLabels>> = HashMap::new();
        for workload in self.registry.all() {
            served.insert(workload.key.clone(), workload.labels.clone());
        }
        let mut family = encoder.encode_descriptor(NAME, HELP, None, MetricType::Gauge)?;
        for (key, status) in self.reporter.all() {
            let labels = served.remove(&key).filter(|_| status.state == State::Served);
            let value = i64::from(labels.is_some());
            let labels = labels.unwrap_or_else(|| Arc::new(unknown(&key)));
            ConstGauge::new(value).encode(family.encode_family(&*labels)?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for WorkloadCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkloadCollector(…)")
    }
}

fn unknown(key: &Key) -> WorkloadLabels {
    WorkloadLabels::new(key.namespace.clone(), key.name.clone(), &Default::default())
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry as Families};

    use super::*;

    #[test]
    fn a_pod_that_is_not_served_is_zero() {
        let reporter = Arc::<StatusReporter>::default();
        let key = Key { namespace: "shop".into(), name: "orders-1".into() };
        reporter.set(&key, "uid", State::Refused, "its node has no cgroup v2");
        let mut families = Families::default();
        families.register_collector(Box::new(WorkloadCollector { registry: Arc::default(), reporter }));
        let mut text = String::new();
        encode(&mut text, &families).unwrap();
        assert!(text.contains("weft_workload_served{namespace=\"shop\",pod=\"orders-1\"} 0"), "{text}");
    }
}
