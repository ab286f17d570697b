{{/*
Rules that make the dashboards cheaper. The chart and the dev VM use this file; nothing between define and end may be a
template. docs/prometheus.md says what was measured.
*/}}
{{- define "weft-viz.prometheus.rules" -}}
groups:
  - name: weft-workloads
    rules:
      # A workload's requests, without its pods, their peers and ports.
      - record: workload:response_total:rate1m
        expr: |
          sum by (namespace, deployment, statefulset, daemonset, replicaset, replicationcontroller, cronjob, k8s_job,
            direction, classification, tls) (rate(response_total[1m]))
      - record: workload:response_latency_ms_bucket:rate1m
        expr: |
          sum by (namespace, deployment, statefulset, daemonset, replicaset, replicationcontroller, cronjob, k8s_job,
            direction, le) (rate(response_latency_ms_bucket[1m]))
{{- end -}}
