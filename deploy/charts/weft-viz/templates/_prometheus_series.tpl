{{/*
The figures that are kept, as metric_relabel_configs of Prometheus. This file is used by the chart and by the dev VM,
which takes the text between define and end: nothing there may be a template. docs/prometheus.md says who reads each
series; a test compares the two.
*/}}
{{- define "weft-viz.prometheus.proxySeries" -}}
- action: keep
  source_labels: [__name__]
  regex: "\
    inbound_grpc_request_duration_seconds_bucket|\
    inbound_grpc_requests_total|\
    inbound_grpc_statuses_total|\
    inbound_http_authz_allow_total|\
    inbound_http_authz_deny_total|\
    inbound_http_errors_total|\
    inbound_http_request_duration_seconds_bucket|\
    inbound_http_requests_total|\
    inbound_http_statuses_total|\
    inbound_tcp_authz_allow_total|\
    inbound_tcp_authz_deny_total|\
    inbound_tcp_authz_terminate_total|\
    inbound_tcp_errors_total|\
    outbound_grpc_route_request_statuses_total|\
    outbound_http_balancer_endpoints|\
    outbound_http_errors_total|\
    outbound_http_route_request_statuses_total|\
    outbound_tcp_errors_total|\
    response_latency_ms_bucket|\
    response_total|\
    tcp_open_connections|\
    tcp_open_total|\
    tcp_read_bytes_total|\
    tcp_write_bytes_total|\
    weft_workload_served|\
    control_identity_cert_expiration_timestamp_seconds|\
    control_identity_cert_refreshes_total|\
    process_cpu_seconds_total|\
    process_open_fds|\
    process_resident_memory_bytes|\
    process_start_time_seconds|\
    process_threads|\
    proxy_build_info|\
    up|\
    weft_capture_map_entries|\
    weft_capture_total|\
    weft_connections_limit|\
    weft_connections_open|\
    weft_control_plane_replicas_ready|\
    weft_discovery_control_plane_connected|\
    weft_discovery_refusals_total|\
    weft_metrics_label_sets_overflow_total|\
    weft_tap_dropped_events_total|\
    weft_tap_events_total|\
    weft_taps"
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
  regex: "\
    weft_control_build_info|\
    weft_control_certificates_refused_total|\
    weft_control_grpc_requests_total|\
    weft_control_grpc_streams_open|\
    weft_control_index_objects|\
    weft_control_issuer_expiration_timestamp_seconds|\
    weft_control_node_calls_refused_total|\
    weft_control_own_certificate_expiration_timestamp_seconds|\
    weft_control_ready|\
    weft_control_trust_anchor_expiration_timestamp_seconds|\
    weft_control_watch_connected|\
    weft_control_watch_silence_seconds"
{{- end -}}
{{- define "weft-viz.prometheus.vizSeries" -}}
- action: keep
  source_labels: [__name__]
  regex: "\
    weft_viz_api_requests_total|\
    weft_viz_connections_open|\
    weft_viz_prometheus_query_duration_seconds_bucket|\
    weft_viz_prometheus_query_errors_total|\
    weft_viz_taps_open"
{{- end -}}
{{- define "weft-viz.prometheus.ownSeries" -}}
- action: keep
  source_labels: [__name__]
  regex: "\
    process_cpu_seconds_total|\
    process_resident_memory_bytes|\
    prometheus_build_info|\
    prometheus_rule_evaluation_failures_total|\
    prometheus_tsdb_head_samples_appended_total|\
    prometheus_tsdb_head_series|\
    prometheus_tsdb_storage_blocks_bytes"
{{- end -}}
{{- define "weft-viz.prometheus.containerSeries" -}}
- action: keep
  source_labels: [__name__]
  regex: "\
    container_cpu_usage_seconds_total|\
    container_memory_working_set_bytes|\
    machine_cpu_cores|\
    machine_memory_bytes"
# Sums of a pod, and what belongs to no container.
- action: drop
  source_labels: [__name__, container]
  regex: container_[^;]+;
- action: labeldrop
  regex: id|image|name|cpu
{{- end -}}
