{{/*
The pod of a process. Takes root, component, values (of the component), args, names (of its secrets),
own (the Secret that the chart makes), env, ports, serviceAccountName, grace and restartPolicy.
*/}}
{{- define "job-gateway.pod" -}}
{{- $all := .root.Values -}}
{{- $volume := include "job-gateway.secretVolume" . -}}
metadata:
  labels:
    {{- include "job-gateway.selectorLabels" . | nindent 4 }}
    {{- with mergeOverwrite (dict) $all.commonLabels $all.podLabels (.values.podLabels | default dict) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with mergeOverwrite (dict) (.checksums | default dict) $all.podAnnotations .values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ .serviceAccountName }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- with .grace }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  {{- with $all.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.priorityClassName | default $all.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .values.nodeSelector | default $all.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations | default $all.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity | default $all.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .ports }}
  topologySpreadConstraints:
    {{- include "job-gateway.spread" . | nindent 4 }}
  {{- end }}
  {{- with $all.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "job-gateway.image" .root | quote }}
      imagePullPolicy: {{ $all.image.pullPolicy }}
      args: {{ toJson .args }}
      {{- with $all.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- include "job-gateway.containerEnv" . | trim | nindent 6 }}
      {{- with .ports }}
      ports:
        {{- range $name, $port := . }}
        - name: {{ $name }}
          containerPort: {{ $port }}
          protocol: TCP
        {{- end }}
      {{- end }}
      {{- with .values.startupProbe }}
      startupProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.livenessProbe }}
      livenessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.readinessProbe }}
      readinessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or $volume $all.extraVolumeMounts }}
      volumeMounts:
        {{- if $volume }}
        - name: secrets
          mountPath: /run/secrets/job-gateway
          readOnly: true
        {{- end }}
        {{- with $all.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
    {{- with .values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or $volume $all.extraVolumes }}
  volumes:
    {{- with $volume }}
    {{- . | trim | nindent 4 }}
    {{- end }}
    {{- with $all.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* What a container has in its environment. The migration runs before the ConfigMap exists. */}}
{{- define "job-gateway.containerEnv" -}}
{{- $all := .root.Values -}}
{{- $config := and $all.config .ports -}}
{{- if or $config $all.extraEnvFrom }}
envFrom:
  {{- if $config }}
  - configMapRef:
      name: {{ include "job-gateway.fullname" .root }}
  {{- end }}
  {{- with $all.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
env:
  {{- range $name, $value := .env }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- include "job-gateway.secretEnv" . | trim | nindent 2 }}
  {{- with concat $all.extraEnv (.values.extraEnv | default list) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* How the pods are spread over zones and nodes. */}}
{{- define "job-gateway.spread" -}}
{{- $selector := dict "matchLabels" (include "job-gateway.selectorLabels" . | fromYaml) -}}
{{- $constraints := .values.topologySpreadConstraints -}}
{{- if not $constraints -}}
{{- range tuple "topology.kubernetes.io/zone" "kubernetes.io/hostname" -}}
{{- $constraint := dict "maxSkew" 1 "topologyKey" . "whenUnsatisfiable" "ScheduleAnyway" -}}
{{- $constraints = append $constraints $constraint -}}
{{- end -}}
{{- end -}}
{{- $whole := list -}}
{{- range $constraints -}}
{{- $whole = append $whole (merge (deepCopy .) (dict "labelSelector" $selector)) -}}
{{- end -}}
{{ toYaml $whole }}
{{- end -}}

{{/* Changes with what the pods read at their start, so that a changed setting replaces them. */}}
{{- define "job-gateway.checksums" -}}
{{- $secrets := dict "root" . "names" (include "job-gateway.processSecrets" .) -}}
checksum/config: {{ toJson .Values.config | sha256sum }}
checksum/secret: {{ include "job-gateway.secretData" $secrets | sha256sum }}
{{- end -}}
