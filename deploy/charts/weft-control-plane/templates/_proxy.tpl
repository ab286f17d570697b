{{/* The labels that select node proxies' pods. */}}
{{- define "weft.proxy.selector" -}}
linkerd.io/control-plane-component: proxy
linkerd.io/control-plane-ns: {{ .Release.Namespace }}
{{- end -}}

{{/* The labels of the node proxies' objects. */}}
{{- define "weft.proxy.labels" -}}
app.kubernetes.io/name: weft-proxy
linkerd.io/control-plane-component: proxy
{{ include "weft.labels" . }}
{{- end -}}
