{{/* The version of weft: the tag of its images. */}}
{{- define "weft.version" -}}
{{ default .Chart.AppVersion .Values.weftVersion }}
{{- end -}}

{{/* The last part of every identity. */}}
{{- define "weft.trustDomain" -}}
{{ default .Values.clusterDomain .Values.identityTrustDomain }}
{{- end -}}

{{/* The labels of all objects. */}}
{{- define "weft.labels" -}}
app.kubernetes.io/part-of: weft
app.kubernetes.io/version: {{ include "weft.version" . | quote }}
linkerd.io/control-plane-ns: {{ .Release.Namespace }}
{{- end -}}

{{/* The labels that select weft-control's pods. */}}
{{- define "weft.control.selector" -}}
linkerd.io/control-plane-component: control
linkerd.io/control-plane-ns: {{ .Release.Namespace }}
{{- end -}}

{{/* The labels of weft-control's objects. */}}
{{- define "weft.control.labels" -}}
app.kubernetes.io/name: weft-control
linkerd.io/control-plane-component: control
{{ include "weft.labels" . }}
{{- end -}}

{{/* Requests and limits from values such as {cpu: {request: 100m, limit: ""}}. */}}
{{- define "weft.resources" -}}
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

{{/* The values of the installation, without what is secret. */}}
{{- define "weft.values" -}}
{{- $tls := dict "tls" (dict "crtPEM" .Values.identity.issuer.tls.crtPEM) -}}
{{- $issuer := merge $tls (omit .Values.identity.issuer "tls") -}}
{{- $identity := merge (dict "issuer" $issuer) (omit .Values.identity "issuer") -}}
{{- toYaml (merge (dict "identity" $identity) (omit .Values "identity" "installOverrides")) -}}
{{- end -}}
