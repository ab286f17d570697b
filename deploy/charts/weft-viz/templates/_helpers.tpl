{{/* The version of weft: the tag of its images. */}}
{{- define "weft-viz.version" -}}
{{ default .Chart.AppVersion .Values.weftVersion }}
{{- end -}}

{{/* The last part of every identity. */}}
{{- define "weft-viz.trustDomain" -}}
{{ default .Values.clusterDomain .Values.identityTrustDomain }}
{{- end -}}

{{/* Where Prometheus is; empty if there is none. */}}
{{- define "weft-viz.prometheusUrl" -}}
{{- if .Values.prometheusUrl -}}
{{ .Values.prometheusUrl }}
{{- else if .Values.prometheus.enabled -}}
http://prometheus.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:9090
{{- end -}}
{{- end -}}

{{/* The labels of all objects. */}}
{{- define "weft-viz.labels" -}}
app.kubernetes.io/part-of: weft
app.kubernetes.io/version: {{ include "weft-viz.version" . | quote }}
linkerd.io/extension: viz
{{- end -}}

{{/* The labels and annotations of all pods, beside their own. */}}
{{- define "weft-viz.podLabels" -}}
{{ include "weft-viz.labels" . }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- define "weft-viz.podAnnotations" -}}
# The dashboard shows itself, and who reads the figures is subject to policy.
linkerd.io/inject: enabled
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where pods run, and how they are pulled: part of a pod's specification. */}}
{{- define "weft-viz.scheduling" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Keeps the replicas of a component apart. The dict has the component's name. */}}
{{- define "weft-viz.affinity" -}}
podAntiAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          linkerd.io/extension: viz
          component: {{ .component }}
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: topology.kubernetes.io/zone
        labelSelector:
          matchLabels:
            linkerd.io/extension: viz
            component: {{ .component }}
{{- end -}}

{{/* What containers may do: nothing beyond their own process. */}}
{{- define "weft-viz.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end -}}

{{/* Requests and limits from values such as {cpu: {request: 100m, limit: ""}}. */}}
{{- define "weft-viz.resources" -}}
{{- $requests := dict -}}
{{- $limits := dict -}}
{{- range $name, $amounts := . -}}
{{- if $amounts.request -}}{{- $requests = merge (dict $name $amounts.request) $requests -}}{{- end -}}
{{- if $amounts.limit -}}{{- $limits = merge (dict $name $amounts.limit) $limits -}}{{- end -}}
{{- end -}}
{{- $resources := dict -}}
{{- if $requests -}}{{- $resources = merge (dict "requests" $requests) $resources -}}{{- end -}}
{{- if $limits -}}{{- $resources = merge (dict "limits" $limits) $resources -}}{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
