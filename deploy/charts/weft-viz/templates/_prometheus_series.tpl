{{/*
The figures that are kept, as metric_relabel_configs of Prometheus. This file is used by the chart and by the dev VM,
which takes the text between define and end: nothing there may be a template. docs/prometheus.md says what reads each
series, and a test compares it with these lists.
*/}}
{{- define "weft-viz.prometheus.proxySeries" -}}
# What nothing reads is dropped.
- action: keep
  source_labels: [__name__]
  regex: "up|\
    (request|response)_total|response_latency_ms_(bucket|sum|count)|\
    tcp_(open|close)_total|tcp_open_connections|tcp_(read|write)_bytes_total|\
    inbound_(http|tcp)_authz_(allow|deny)_total|inbound_tcp_authz_terminate_total|\
    (inbound|outbound)_(http|tcp)_errors_total|\
    inbound_(http|grpc)_(requests|statuses)_total|inbound_(http|grpc)_request_duration_seconds_bucket|\
    outbound_(http|grpc)_route_request_statuses_total|outbound_(http|grpc)_route_request_duration_seconds_bucket|\
    outbound_(http|grpc)_route_backend_response_statuses_total|\
    outbound_(http|grpc)_route_backend_response_duration_seconds_bucket|\
    outbound_http_balancer_endpoints|\
    control_identity_cert_(expiration_timestamp_seconds|refreshes_total)|\
    weft_workload_served|\
    weft_capture_total|weft_capture_map_entries|weft_connections_(open|limit)|weft_direct_connections_(open|total)|\
    weft_discovery_(control_plane_connected|watch_failures_total|refusals_total)|\
    weft_control_plane_replicas_ready|weft_metrics_label_sets_overflow_total|weft_tap_.+|\
    proxy_build_info|\
    process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds|open_fds|max_fds|threads)"
# `job` is the scrape job's name. A workload's Job is k8s_job, as in Linkerd's Prometheus.
- source_labels: [job]
  target_label: k8s_job
- source_labels: [k8s_job]
  regex: weft-proxy
  target_label: k8s_job
  replacement: ""
- target_label: job
  replacement: weft-proxy
# Nothing reads them, and others say the same.
- action: labeldrop
  regex: (dst_)?pod_template_hash|dst_control_plane_ns
{{- end -}}
{{- define "weft-viz.prometheus.controlSeries" -}}
- action: keep
  source_labels: [__name__]
  regex: "weft_control_build_info|weft_control_ready|weft_control_index_objects|\
    weft_control_grpc_requests_total|weft_control_grpc_streams_open|weft_control_connections_open|\
    weft_control_watch_(connected|silence_seconds|failures_total)|\
    weft_control_(issuer|trust_anchor|own_certificate|webhook_certificate)_expiration_timestamp_seconds|\
    weft_control_certificates_(issued|refused)_total|weft_control_node_calls_refused_total|\
    weft_control_manifest_errors|\
    process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds|open_fds|max_fds)"
{{- end -}}
{{- define "weft-viz.prometheus.vizSeries" -}}
- action: keep
  source_labels: [__name__]
  regex: "weft_viz_.+|process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds|open_fds|max_fds)"
{{- end -}}
{{- define "weft-viz.prometheus.ownSeries" -}}
- action: keep
  source_labels: [__name__]
  regex: "prometheus_build_info|prometheus_tsdb_head_(series|samples_appended_total)|\
    prometheus_tsdb_storage_blocks_bytes|prometheus_tsdb_lowest_timestamp_seconds|\
    prometheus_rule_evaluation_failures_total|\
    process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds)"
{{- end -}}
{{- define "weft-viz.prometheus.containerSeries" -}}
- action: keep
  source_labels: [__name__]
  regex: container_cpu_usage_seconds_total|container_memory_working_set_bytes|machine_cpu_cores|machine_memory_bytes
# Sums of a pod, and what belongs to no container.
- action: drop
  source_labels: [__name__, container]
  regex: container_[^;]+;
- action: labeldrop
  regex: id|image|name|cpu
{{- end -}}
