{{/* Names are cut so that the longest suffix, "-migrate-" with a hash, still fits into 63 characters. */}}
{{- define "job-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 46 | trimSuffix "-" -}}
{{- end -}}

{{- define "job-gateway.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 46 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change: a Deployment's selector is immutable. Takes root and component. */}}
{{- define "job-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "job-gateway.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object. Takes root and component. */}}
{{- define "job-gateway.labels" -}}
{{ include "job-gateway.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Name, namespace and labels of an object. Takes root, component, and suffix. */}}
{{- define "job-gateway.metadata" -}}
name: {{ include "job-gateway.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "job-gateway.labels" . | nindent 2 }}
{{- end -}}

{{- define "job-gateway.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "job-gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "job-gateway.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* A scalar as text: Helm reads whole numbers as floats, and would write 67108864 as 6.7108864e+07. */}}
{{- define "job-gateway.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ printf "%.0f" . }}
{{- else -}}
{{ toString . }}
{{- end -}}
{{- end -}}

{{/* Seconds from SIGTERM to the end of a process, rounded up. */}}
{{- define "job-gateway.drain" -}}
{{- $config := .Values.config -}}
{{- $delay := hasKey $config "GATEWAY_DRAIN_DELAY_SECONDS" | ternary (get $config "GATEWAY_DRAIN_DELAY_SECONDS") 5 -}}
{{- $drain := hasKey $config "GATEWAY_DRAIN_SECONDS" | ternary (get $config "GATEWAY_DRAIN_SECONDS") 20 -}}
{{ addf $delay $drain | ceil | int }}
{{- end -}}

{{/* Seconds until SIGKILL. Takes root and component. */}}
{{- define "job-gateway.grace" -}}
{{- $given := (index .root.Values .component).terminationGracePeriodSeconds | int -}}
{{- $given | default (add (include "job-gateway.drain" .root) 5) -}}
{{- end -}}
