{{/* What would not work, or would open more than it says, and that values.schema.json cannot say in words: each with what to do. */}}
{{- define "kleym.refuse" -}}
{{- include "kleym.refuseReplicas" . }}
{{- include "kleym.refuseSettings" . }}
{{- include "kleym.refuseImage" . }}
{{- include "kleym.refuseLabels" . }}
{{- include "kleym.refuseNames" . }}
{{- end }}

{{- define "kleym.refuseReplicas" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) }}
{{- fail "replicas: more than one needs leaderElection.enabled" }}
{{- end }}
{{- if and .Values.metrics.enabled (eq (int .Values.metrics.port) (int .Values.health.port)) }}
{{- fail "metrics.port, health.port: must differ" }}
{{- end }}
{{- end }}

{{/* What stops the operator's start: known here before a pod runs. */}}
{{- define "kleym.refuseSettings" -}}
{{- range $grant := .Values.pathGrants }}
{{- $namespace := splitList "=" $grant | first }}
{{- $path := splitList "=" $grant | last | lower }}
{{- $segments := splitList "/" $path | rest }}
{{- if or (eq (first $segments) "ns") (hasPrefix "spire" (first $segments)) }}
{{- fail (printf "pathGrants: `%s` cannot be granted: paths below /ns are the namespaces' own, and those that begin with /spire are SPIRE's; choose another prefix" $grant) }}
{{- end }}
{{- if or (has "." $segments) (has ".." $segments) }}
{{- fail (printf "pathGrants: `%s` has a segment `.` or `..`, which no SPIFFE ID may have; choose another prefix" $grant) }}
{{- end }}
{{- range $other := $.Values.pathGrants }}
{{- $taken := splitList "=" $other | last | lower }}
{{- if and (ne $namespace (splitList "=" $other | first)) (hasPrefix (printf "%s/" $taken) (printf "%s/" $path)) }}
{{- fail (printf "pathGrants: `%s` lies in `%s`, but every path belongs to one namespace; choose prefixes of which none lies in another" $grant $other) }}
{{- end }}
{{- end }}
{{- end }}
{{- $level := .Values.log.level }}
{{- $levels := list "error" "warn" "info" "debug" "trace" }}
{{- $words := "use error, warn, info, debug or trace, or a filter such as info,kleym_operator=debug" }}
{{- if not (regexMatch "[=,]" $level) }}
{{- if not (has (lower $level) $levels) }}
{{- fail (printf "log.level: `%s` is no level; %s" $level $words) }}
{{- end }}
{{- else if not (contains "[" $level) }}
{{- range $directive := splitList "," $level }}
{{- if and (contains "=" $directive) (not (has (splitList "=" $directive | last | lower) (append $levels "off"))) }}
{{- fail (printf "log.level: `%s` ends in no level; %s" $directive $words) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kleym.refuseImage" -}}
{{- $repository := .Values.image.repository }}
{{- if contains "@" $repository }}
{{- fail (printf "image.repository: `%s` has a digest; put it into image.digest" $repository) }}
{{- end }}
{{- if contains "://" $repository }}
{{- fail (printf "image.repository: `%s` has a scheme; begin with the registry" $repository) }}
{{- end }}
{{- if contains ":" (splitList "/" $repository | last) }}
{{- fail (printf "image.repository: `%s` has a tag; put it into image.tag" $repository) }}
{{- end }}
{{- if not (regexMatch "^([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:]+\\])(:[0-9]+)?(/[a-z0-9]+((\\.|_{1,2}|-+)[a-z0-9]+)*)*$" $repository) }}
{{- fail (printf "image.repository: `%s` is no name of an image; write it as ghcr.io/sonda-red/kleym-operator" $repository) }}
{{- end }}
{{- with .Values.image.tag }}
{{- if not (regexMatch "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$" .) }}
{{- fail (printf "image.tag: `%s` is no tag; use letters, digits, `.`, `_` and `-`, at most 128 (a digest belongs into image.digest)" .) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Labels by which the chart's own selectors find pods, and by which other roles are put together. */}}
{{- define "kleym.refuseLabels" -}}
{{- $own := keys (include "kleym.ownLabels" . | fromYaml) (dict "app.kubernetes.io/component" "") }}
{{- $given := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels "podMonitor.labels" .Values.podMonitor.labels "serviceMonitor.labels" .Values.serviceMonitor.labels "prometheusRule.labels" .Values.prometheusRule.labels "dashboard.labels" .Values.dashboard.labels }}
{{- range $value, $labels := $given }}
{{- range $label, $_ := $labels }}
{{- if has $label $own }}
{{- fail (printf "%s: `%s` is set by the chart, which finds its pods and objects by it; leave it out" $value $label) }}
{{- end }}
{{- if hasPrefix "rbac.authorization.k8s.io/" $label }}
{{- fail (printf "%s: `%s` would make the operator's rights part of other roles; leave it out" $value $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kleym.refuseNames" -}}
{{- with .Values.serviceAccount.name }}
{{- if or (gt (len .) 253) (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .)) }}
{{- fail (printf "serviceAccount.name: `%s` is no name of a ServiceAccount; use lower-case letters, digits, `-` and `.`, with a letter or digit at both ends, at most 253" .) }}
{{- end }}
{{- end }}
{{- $service := include "kleym.metricsServiceName" . }}
{{- if and .Values.serviceMonitor.enabled (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $service)) }}
{{- fail (printf "serviceMonitor: a Service cannot be called `%s`, after the release `%s`; set fullnameOverride to a name without dots that begins with a letter" $service .Release.Name) }}
{{- end }}
{{- end }}
