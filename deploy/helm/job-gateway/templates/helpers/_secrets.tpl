{{/* The secrets that an API or a worker needs, by the names of the values. */}}
{{- define "job-gateway.processSecrets" -}}
databaseUrl readDatabaseUrl redisUrl masterKey egressProxy
{{- end -}}

{{/* The secrets that the migration needs. */}}
{{- define "job-gateway.migrationSecrets" -}}
databaseUrl migrationDatabaseUrl
{{- end -}}

{{- define "job-gateway.requiredSecrets" -}}
databaseUrl redisUrl masterKey
{{- end -}}

{{/* The setting that a secret is for: databaseUrl is GATEWAY_DATABASE_URL. */}}
{{- define "job-gateway.settingOf" -}}
GATEWAY_{{ snakecase . | upper }}
{{- end -}}

{{/*
Where each secret comes from, as JSON: its setting with a file, or with a Secret and a key.
Takes root, names (of the values) and own (the name of the Secret that the chart makes).
*/}}
{{- define "job-gateway.secretSources" -}}
{{- $secrets := .root.Values.secrets -}}
{{- $required := splitList " " (include "job-gateway.requiredSecrets" .) -}}
{{- $sources := list -}}
{{- range $name := splitList " " .names -}}
{{- $secret := get $secrets $name -}}
{{- $setting := include "job-gateway.settingOf" $name -}}
{{- if $secret.file -}}
{{- $sources = append $sources (dict "setting" $setting "file" $secret.file) -}}
{{- else if $secret.existingSecret -}}
{{- $sources = append $sources (dict "setting" $setting "secret" $secret.existingSecret "key" $secret.key) -}}
{{- else if $secret.value -}}
{{- $sources = append $sources (dict "setting" $setting "secret" $.own "key" $setting) -}}
{{- else if and $secrets.existingSecret (has $name $required) -}}
{{- $sources = append $sources (dict "setting" $setting "secret" $secrets.existingSecret "key" $secret.key) -}}
{{- end -}}
{{- end -}}
{{- toJson (dict "sources" $sources) -}}
{{- end -}}

{{/* The environment variables of the secrets. Takes what secretSources takes. */}}
{{- define "job-gateway.secretEnv" -}}
{{- range (include "job-gateway.secretSources" . | fromJson).sources }}
{{- if .file }}
- name: {{ .setting }}_FILE
  value: {{ .file | quote }}
{{- else if $.root.Values.secrets.asFiles }}
- name: {{ .setting }}_FILE
  value: /run/secrets/job-gateway/{{ .setting }}
{{- else }}
- name: {{ .setting }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The volume with the secrets as files. Takes what secretSources takes. */}}
{{- define "job-gateway.secretVolume" -}}
{{- $projected := list -}}
{{- range (include "job-gateway.secretSources" . | fromJson).sources -}}
{{- if .secret -}}
{{- $item := dict "key" .key "path" .setting -}}
{{- $projected = append $projected (dict "secret" (dict "name" .secret "items" (list $item))) -}}
{{- end -}}
{{- end -}}
{{- if and $projected .root.Values.secrets.asFiles }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- toYaml $projected | nindent 6 }}
{{- end }}
{{- end -}}

{{/* The secrets that have a value, as data of a Secret. Takes root and names. */}}
{{- define "job-gateway.secretData" -}}
{{- $secrets := .root.Values.secrets -}}
{{- range $name := splitList " " .names }}
{{- with (get $secrets $name).value }}
{{ include "job-gateway.settingOf" $name }}: {{ . | b64enc | quote }}
{{- end }}
{{- end }}
{{- end -}}
