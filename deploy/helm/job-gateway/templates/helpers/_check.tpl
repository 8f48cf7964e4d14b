{{/* Refuses values that lack something or contradict each other, with all sentences at once. */}}
{{- define "job-gateway.check" -}}
{{- $all := .Values -}}
{{- $faults := list -}}
{{- if not $all.image.repository -}}
{{- $faults = append $faults "image.repository is not set: name the image that you built from the Dockerfile." -}}
{{- end -}}
{{- $faults = concat $faults
  (include "job-gateway.secretFaults" . | fromJsonArray)
  (include "job-gateway.processFaults" . | fromJsonArray)
  (include "job-gateway.environmentFaults" . | fromJsonArray)
  (include "job-gateway.accessFaults" . | fromJsonArray)
-}}
{{- with $all.keda -}}
{{- if and .enabled (not .serverAddress) -}}
{{- $faults = append $faults "keda.serverAddress is not set: name the address of Prometheus." -}}
{{- end -}}
{{- if and .enabled $all.worker.autoscaling.enabled -}}
{{- $faults = append $faults "keda.enabled and worker.autoscaling.enabled are both true, and would work against each other: choose one." -}}
{{- end -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- $faults = append $faults "keda.minReplicas is larger than keda.maxReplicas." -}}
{{- end -}}
{{- end -}}
{{- if and $all.metrics.podMonitor.enabled $all.metrics.serviceMonitor.enabled -}}
{{- $faults = append $faults "metrics.podMonitor.enabled and metrics.serviceMonitor.enabled are both true, so every pod would be scraped twice: choose one." -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n- %s" (join "\n- " $faults)) -}}
{{- end -}}
{{- end -}}

{{/* A secret must come from exactly one place. */}}
{{- define "job-gateway.secretFaults" -}}
{{- $secrets := .Values.secrets -}}
{{- $required := splitList " " (include "job-gateway.requiredSecrets" .) -}}
{{- $faults := list -}}
{{- range $name := append $required "migrationDatabaseUrl" | concat (list "egressProxy" "readDatabaseUrl") -}}
{{- $secret := get $secrets $name -}}
{{- $given := list -}}
{{- range tuple "value" "existingSecret" "file" -}}
{{- if get $secret . -}}
{{- $given = append $given (printf "secrets.%s.%s" $name .) -}}
{{- end -}}
{{- end -}}
{{- if and $secret.value $secrets.existingSecret (has $name $required) -}}
{{- $given = append $given "secrets.existingSecret" -}}
{{- end -}}
{{- if gt (len $given) 1 -}}
{{- $faults = append $faults (printf "%s are set: choose one." (join " and " $given)) -}}
{{- else if and (not $given) (has $name $required) (not $secrets.existingSecret) -}}
{{- $faults = append $faults (printf "%s has no value: set secrets.existingSecret, or one of secrets.%s.existingSecret, .file and .value." (include "job-gateway.settingOf" $name) $name) -}}
{{- end -}}
{{- end -}}
{{- toJson $faults -}}
{{- end -}}

{{/* The API and the workers: time to stop, disruption budget, autoscaler. */}}
{{- define "job-gateway.processFaults" -}}
{{- $faults := list -}}
{{- $drain := include "job-gateway.drain" . | int -}}
{{- range $component := tuple "api" "worker" -}}
{{- $values := get $.Values $component -}}
{{- $grace := int $values.terminationGracePeriodSeconds -}}
{{- if and $grace (le $grace $drain) -}}
{{- $faults = append $faults (printf "%s.terminationGracePeriodSeconds is %d, but GATEWAY_DRAIN_DELAY_SECONDS and GATEWAY_DRAIN_SECONDS together are %d: a longer time is needed, or 0 to let the chart choose." $component $grace $drain) -}}
{{- end -}}
{{- $scaling := $values.autoscaling -}}
{{- $fewest := int (ternary $scaling.minReplicas $values.replicas $scaling.enabled) -}}
{{- if and $.Values.keda.enabled (eq $component "worker") -}}
{{- $fewest = int $.Values.keda.minReplicas -}}
{{- end -}}
{{- $least := toString $values.pdb.minAvailable -}}
{{- $most := toString $values.pdb.maxUnavailable -}}
{{- if $values.pdb.enabled -}}
{{- if and $least $most -}}
{{- $faults = append $faults (printf "%s.pdb.minAvailable and %s.pdb.maxUnavailable are both set: Kubernetes takes one; set the other to \"\"." $component $component) -}}
{{- else if not (or $least $most) -}}
{{- $faults = append $faults (printf "%s.pdb has neither minAvailable nor maxUnavailable: set one, or %s.pdb.enabled=false." $component $component) -}}
{{- else if or (eq $most "0") (eq $most "0%") (and $least (ge (include "job-gateway.podsOf" (list $least $fewest) | int) $fewest)) -}}
{{- $faults = append $faults (printf "%s.pdb allows no pod to be evicted, so no node with one could be drained: lower minAvailable, or raise maxUnavailable or the number of pods." $component) -}}
{{- end -}}
{{- end -}}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- $faults = append $faults (printf "%s.autoscaling.minReplicas is larger than %s.autoscaling.maxReplicas." $component $component) -}}
{{- end -}}
{{- if and $scaling.enabled (not (dig "requests" "cpu" "" $values.resources)) -}}
{{- $faults = append $faults (printf "%s.autoscaling needs %s.resources.requests.cpu: the target is a percentage of it." $component $component) -}}
{{- end -}}
{{- end -}}
{{- toJson $faults -}}
{{- end -}}

{{/* How many pods a number or a percentage means, rounded up as Kubernetes does. Takes it and the number of all. */}}
{{- define "job-gateway.podsOf" -}}
{{- $text := index . 0 -}}
{{- if hasSuffix "%" $text -}}
{{- divf (mulf (trimSuffix "%" $text | float64) (index . 1)) 100 | ceil | int -}}
{{- else -}}
{{- int $text -}}
{{- end -}}
{{- end -}}

{{/* Settings that contradict each other, and variables that would be set twice. */}}
{{- define "job-gateway.environmentFaults" -}}
{{- $all := .Values -}}
{{- $faults := list -}}
{{- if and (get $all.config "GATEWAY_ALLOW_PRIVATE_CALLBACKS") (ne (get $all.config "GATEWAY_ENV") "dev") -}}
{{- $faults = append $faults "config.GATEWAY_ALLOW_PRIVATE_CALLBACKS works only with config.GATEWAY_ENV=dev: name the private networks in config.GATEWAY_CALLBACK_NETWORKS instead." -}}
{{- end -}}
{{- $taken := tuple "GATEWAY_HOST" "GATEWAY_PORT" "GATEWAY_METRICS_PORT" "GATEWAY_WORKER_PORT" "GATEWAY_CONSOLE_PORT" -}}
{{- range tuple "databaseUrl" "migrationDatabaseUrl" "readDatabaseUrl" "redisUrl" "masterKey" "egressProxy" -}}
{{- $setting := include "job-gateway.settingOf" . -}}
{{- $taken = concat $taken (list $setting (printf "%s_FILE" $setting)) -}}
{{- end -}}
{{- $general := list -}}
{{- range $all.extraEnv -}}
{{- $general = append $general .name -}}
{{- end -}}
{{- range $place, $variables := dict "extraEnv" $all.extraEnv "api.extraEnv" $all.api.extraEnv "worker.extraEnv" $all.worker.extraEnv -}}
{{- range $variables -}}
{{- if has .name $taken -}}
{{- $faults = append $faults (printf "%s sets %s, which the chart sets itself: use the values under secrets, or leave it out." $place .name) -}}
{{- else if hasKey $all.config .name -}}
{{- $faults = append $faults (printf "%s and config both set %s: choose one." $place .name) -}}
{{- else if and (ne $place "extraEnv") (has .name $general) -}}
{{- $faults = append $faults (printf "%s and extraEnv both set %s: choose one." $place .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $faults -}}
{{- end -}}

{{/* Ingress, HTTPRoute and NetworkPolicy. */}}
{{- define "job-gateway.accessFaults" -}}
{{- $all := .Values -}}
{{- $faults := list -}}
{{- if and $all.ingress.enabled (not $all.ingress.hosts) -}}
{{- $faults = append $faults "ingress.hosts is empty: name the host of the API." -}}
{{- end -}}
{{- if and $all.httpRoute.enabled (not $all.httpRoute.parentRefs) -}}
{{- $faults = append $faults "httpRoute.parentRefs is empty: name the Gateway." -}}
{{- end -}}
{{- range $place := tuple "ingress" "httpRoute" -}}
{{- range $path := (get $all $place).paths -}}
{{- if regexMatch "^/(admin|metrics)(/|$)" $path -}}
{{- $faults = append $faults (printf "%s.paths has %s, which is for operators: %s.admin=true opens /admin, and /metrics is not on the port of the API." $place $path $place) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $proxy := $all.secrets.egressProxy -}}
{{- if and $all.networkPolicy.enabled (or $proxy.value $proxy.existingSecret $proxy.file) (not $all.networkPolicy.egressProxy.ports) -}}
{{- $faults = append $faults "networkPolicy.egressProxy.ports is empty, so no pod could reach the proxy of secrets.egressProxy: name its port." -}}
{{- end -}}
{{- toJson $faults -}}
{{- end -}}
