{{- define "ipvsctl.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "ipvsctl.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ipvsctl.labels" -}}
{{ include "ipvsctl.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "ipvsctl.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "ipvsctl.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed, since serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "ipvsctl.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The schema has seen to it that both end in a port. */ -}}
{{- define "ipvsctl.healthzPort" -}}
{{- regexFind "[0-9]+$" .Values.config.healthzBindAddress -}}
{{- end -}}

{{- define "ipvsctl.metricsPort" -}}
{{- regexFind "[0-9]+$" .Values.config.metricsBindAddress -}}
{{- end -}}

{{- define "ipvsctl.probe" -}}
{{- $port := int (include "ipvsctl.healthzPort" .root) -}}
{{- $address := .root.Values.config.healthzBindAddress -}}
httpGet:
  path: {{ .path }}
  port: {{ $port }}
  {{- if hasPrefix "127." $address }}
  host: 127.0.0.1
  {{- else if hasPrefix "[::1]" $address }}
  host: "::1"
  {{- end }}
{{ toYaml .timing }}
{{- end -}}

{{- /* What the schema cannot say, since it is about two values. */ -}}
{{- define "ipvsctl.check" -}}
{{- $metrics := .Values.config.metricsBindAddress -}}
{{- $isLocal := or (hasPrefix "127." $metrics) (hasPrefix "[::1]" $metrics) -}}
{{- if and $isLocal (or .Values.podMonitor.enabled .Values.serviceMonitor.enabled) -}}
{{- fail (printf "config.metricsBindAddress: %s cannot be scraped from elsewhere, as podMonitor and serviceMonitor do; set it to 0.0.0.0:%s or [::]:%s" $metrics (include "ipvsctl.metricsPort" .) (include "ipvsctl.metricsPort" .)) -}}
{{- end -}}
{{- if .Values.serviceProxyName -}}
{{- range $field, $port := dict "healthzBindAddress" "10256" "metricsBindAddress" "10249" -}}
{{- if hasSuffix (printf ":%s" $port) (index $.Values.config $field) -}}
{{- fail (printf "config.%s: with serviceProxyName ipvsctl runs beside kube-proxy, which has port %s; set another" $field $port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.existingConfigMap.name .Values.apiServer.host .Values.existingConfigMap.kubeconfigKey -}}
{{- fail "apiServer.host: the kubeconfig of existingConfigMap names an API server; set existingConfigMap.kubeconfigKey to \"\" to use apiServer instead" -}}
{{- end -}}
{{- end -}}
