//! The dashboard of containers, from the kubelets, and of the API server. Only a real Kubernetes has these figures.

use super::model::{Dashboard, Panel, Row, Variable};

pub(super) fn dashboard() -> Dashboard {
    let cpu =
        "sum by (pod) (rate(container_cpu_usage_seconds_total{namespace=\"$namespace\"}[$__rate_interval]))";
    let memory = "sum by (pod) (container_memory_working_set_bytes{namespace=\"$namespace\"})";
    Dashboard {
        name: "kubernetes".to_owned(),
        title: "weft / Containers".to_owned(),
        description: "CPU time and memory of the pods of a namespace and of nodes, and the control plane's view of the API server."
            .to_owned(),
        variables: vec![Variable {
            name: "namespace",
            title: "Namespace",
            series: "container_memory_working_set_bytes".to_owned(),
            label: "namespace",
        }],
        rows: vec![
            Row::new(
                "Pods",
                [
                    Panel::lines("CPU", "short", "CPU cores in use, by pod.").width(12).query(cpu, "{{pod}}"),
                    Panel::lines("Memory", "bytes", "Memory that cannot be given back, by pod.")
                        .width(12)
                        .query(memory, "{{pod}}"),
                ],
            ),
            Row::new(
                "Nodes",
                [
                    Panel::lines("CPU", "short", "CPU cores that containers use, and that the node has.")
                        .width(12)
                        .query(
                            "sum by (node) (rate(container_cpu_usage_seconds_total[$__rate_interval]))",
                            "{{node}}",
                        )
                        .query("sum by (node) (machine_cpu_cores)", "{{node}} has"),
                    Panel::lines("Memory", "bytes", "Memory that containers use, and that the node has.")
                        .width(12)
                        .query("sum by (node) (container_memory_working_set_bytes)", "{{node}}")
                        .query("sum by (node) (machine_memory_bytes)", "{{node}} has"),
                ],
            ),
            Row::new(
                "What the control plane hears of the API server",
                [
                    Panel::lines("Connected watches", "short", "Replicas whose watch of a kind is connected.")
                        .width(12)
                        .query("sum by (kind) (weft_control_watch_connected)", "{{kind}}"),
                    Panel::lines("Silence", "s", "The time since the API server was last heard about a kind.")
                        .width(12)
                        .query("max by (kind) (weft_control_watch_silence_seconds)", "{{kind}}"),
                ],
            ),
        ],
    }
}
