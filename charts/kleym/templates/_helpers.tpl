{{/* The name that every object's begins with. */}}
{{- define "kleym.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimAll "-." -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimAll "-." -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What every pod of the release has. */}}
{{- define "kleym.releaseLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What selects the operator's pods; never changes in the life of a release. */}}
{{- define "kleym.selectorLabels" -}}
{{ include "kleym.releaseLabels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{/* What the chart itself says of every object. */}}
{{- define "kleym.ownLabels" -}}
{{ include "kleym.releaseLabels" . }}
app.kubernetes.io/part-of: kleym
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* On every object. */}}
{{- define "kleym.labels" -}}
{{ include "kleym.ownLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* On what belongs to the running operator. */}}
{{- define "kleym.operatorLabels" -}}
{{ include "kleym.labels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Of a list, its first, a map of values, over its last, a text: each key once. */}}
{{- define "kleym.over" -}}
{{ toYaml (merge (deepCopy (default dict (first .))) (last . | fromYaml)) }}
{{- end }}

{{- define "kleym.metricsServiceName" -}}
{{ include "kleym.fullname" . }}-operator-metrics
{{- end }}

{{- define "kleym.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (printf "%s-operator" (include "kleym.fullname" .)) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: name the account to use, or set serviceAccount.create" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{/* The accounts of the operator and of others that write what it writes, as a list of CEL. */}}
{{- define "kleym.operators" -}}
['system:serviceaccount:' + {{ squote .Release.Namespace }} + ':' + {{ include "kleym.serviceAccountName" . | squote }}
{{- range .Values.admissionPolicies.operators }}, {{ squote . }}{{ end }}]
{{- end }}

{{- define "kleym.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default (printf "v%s" .Chart.AppVersion) .Values.image.tag }}
{{- end -}}
{{- end }}

{{/* The trust domain, or the refusal to guess it. */}}
{{- define "kleym.trustDomain" -}}
{{- if .Values.trustDomain -}}
{{- .Values.trustDomain -}}
{{- else if .Values.useDefaultTrustDomain -}}
kleym.sonda.red
{{- else -}}
{{- fail "trustDomain: set it to the trust domain of your SPIRE (--set trustDomain=example.org), or set useDefaultTrustDomain=true for kleym.sonda.red; every SPIFFE ID begins with it" -}}
{{- end -}}
{{- end }}

{{/* The settings as variables. */}}
{{- define "kleym.settings" -}}
- name: KLEYM_TRUST_DOMAIN
  value: {{ include "kleym.trustDomain" . | quote }}
- name: KLEYM_CLUSTERSPIFFEID_CLASS_NAME
  value: {{ .Values.className | quote }}
{{- with .Values.pathGrants }}
- name: KLEYM_PATH_GRANT
  value: {{ join "," . | quote }}
{{- end }}
{{- if ne .Values.instance "default" }}
- name: KLEYM_INSTANCE
  value: {{ .Values.instance | quote }}
{{- end }}
{{- with .Values.watchNamespaces }}
- name: KLEYM_WATCH_NAMESPACE
  value: {{ join "," . | quote }}
{{- end }}
{{- if .Values.allowConfigurationChange }}
- name: KLEYM_ALLOW_CONFIGURATION_CHANGE
  value: "true"
{{- end }}
{{- if .Values.kubeconfig.secretName }}
- name: KLEYM_KUBECONFIG
  value: {{ printf "/etc/kleym/kubeconfig/%s" .Values.kubeconfig.key | quote }}
{{- end }}
- name: KLEYM_LEADER_ELECT
  value: {{ .Values.leaderElection.enabled | quote }}
- name: KLEYM_HEALTH_PROBE_BIND_ADDRESS
  value: {{ printf ":%v" .Values.health.port | quote }}
{{- if .Values.metrics.enabled }}
- name: KLEYM_METRICS_BIND_ADDRESS
  value: {{ printf ":%v" .Values.metrics.port | quote }}
{{- if .Values.metrics.secure }}
- name: KLEYM_METRICS_SECURE
  value: "true"
{{- if .Values.metrics.certificate.secretName }}
- name: KLEYM_METRICS_CERT_PATH
  value: /etc/kleym/metrics-certificate
- name: KLEYM_METRICS_CERT_NAME
  value: {{ .Values.metrics.certificate.certificateKey | quote }}
- name: KLEYM_METRICS_CERT_KEY
  value: {{ .Values.metrics.certificate.privateKeyKey | quote }}
{{- end }}
{{- end }}
{{- end }}
- name: KLEYM_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- if ne .Values.log.level "info" }}
- name: KLEYM_LOG_LEVEL
  value: {{ .Values.log.level | quote }}
{{- end }}
{{- end }}

{{/* All variables, each once. */}}
{{- define "kleym.environment" -}}
{{- $settings := include "kleym.settings" . }}
{{- $names := list }}
{{- range fromYamlArray $settings }}
{{- $names = append $names .name }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if has .name $names }}
{{- fail (printf "extraEnv: %s is there already; use the value of the chart that sets it" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- $settings }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The account's token, which expires and is renewed by the kubelet, as a volume. */}}
{{- define "kleym.accountVolume" -}}
- name: account
  projected:
    defaultMode: 288
    sources:
    - serviceAccountToken:
        path: token
        expirationSeconds: {{ .Values.serviceAccount.tokenExpirationSeconds }}
    - configMap:
        name: kube-root-ca.crt
        items:
        - key: ca.crt
          path: ca.crt
    - downwardAPI:
        items:
        - path: namespace
          fieldRef:
            apiVersion: v1
            fieldPath: metadata.namespace
{{- end }}
