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

{{- /* Of the chart, never the existing one. */ -}}
{{- define "ipvsctl.configMap" -}}
{{- include "ipvsctl.fullname" . }}{{ if .Values.existingConfigMap.name }}-overrides{{ end }}
{{- end -}}

{{- /* Settings are put over an existing ConfigMap. */ -}}
{{- define "ipvsctl.isMerged" -}}
{{- if and .Values.existingConfigMap.name .Values.config }}true{{ end -}}
{{- end -}}

{{- /* Where ipvsctl listens unless it is told, with its own defaults. */ -}}
{{- define "ipvsctl.healthzAddress" -}}
{{- dig "healthzBindAddress" "" (.Values.config | default dict) | default "0.0.0.0:10256" -}}
{{- end -}}

{{- define "ipvsctl.metricsAddress" -}}
{{- dig "metricsBindAddress" "" (.Values.config | default dict) | default "127.0.0.1:10249" -}}
{{- end -}}

{{- /* The schema has seen to it that both end in a port. */ -}}
{{- define "ipvsctl.healthzPort" -}}
{{- regexFind "[0-9]+$" (include "ipvsctl.healthzAddress" .) | atoi -}}
{{- end -}}

{{- define "ipvsctl.metricsPort" -}}
{{- regexFind "[0-9]+$" (include "ipvsctl.metricsAddress" .) | atoi -}}
{{- end -}}

{{- define "ipvsctl.scheduler" -}}
{{- $ipvs := dig "ipvs" "" (.Values.config | default dict) | default dict -}}
{{- $ipvs.scheduler | default "rr" -}}
{{- end -}}

{{- /* The firewall, as far as the values say; `auto` may be either. */ -}}
{{- define "ipvsctl.firewall" -}}
{{- $own := dig "ipvsctl" "" (.Values.config | default dict) | default dict -}}
{{- if eq (default "none" $own.compatibility) "kube-proxy" -}}
iptables
{{- else if ne .Values.firewall "auto" -}}
{{- .Values.firewall -}}
{{- else -}}
{{- $own.firewall | default "auto" -}}
{{- end -}}
{{- end -}}

{{- /* Whether pods may have to do with iptables; "" is false. */ -}}
{{- define "ipvsctl.usesIptables" -}}
{{- if or (ne (include "ipvsctl.firewall" .) "nftables") .Values.iptablesCleanup -}}
true
{{- end -}}
{{- end -}}

{{- /* Whether nodes may be ends of tunnels, as far as the values say; "" is false. */ -}}
{{- define "ipvsctl.hasTunnels" -}}
{{- $own := dig "ipvsctl" "" (.Values.config | default dict) | default dict -}}
{{- if or .Values.tunnels $own.tunnelPort -}}
true
{{- end -}}
{{- end -}}

{{- /* Labels as `kubectl -l` takes them. */ -}}
{{- define "ipvsctl.selector" -}}
{{- $words := list -}}
{{- range $key, $value := . -}}
{{- $words = append $words (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- join "," $words -}}
{{- end -}}

{{- define "ipvsctl.probe" -}}
{{- $port := int (include "ipvsctl.healthzPort" .root) -}}
{{- $address := include "ipvsctl.healthzAddress" .root -}}
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
{{- $metrics := include "ipvsctl.metricsAddress" . -}}
{{- $port := include "ipvsctl.metricsPort" . -}}
{{- if or .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- if eq $port "0" -}}
{{- fail (printf "config.metricsBindAddress: %s is nowhere, and podMonitor and serviceMonitor scrape it" $metrics) -}}
{{- else if or (hasPrefix "127." $metrics) (hasPrefix "[::1]" $metrics) -}}
{{- fail (printf "config.metricsBindAddress: %s cannot be scraped from elsewhere, as podMonitor and serviceMonitor do; set it to 0.0.0.0:%s or [::]:%s" $metrics $port $port) -}}
{{- end -}}
{{- end -}}
{{- if .Values.serviceProxyName -}}
{{- $addresses := dict "healthzBindAddress" (list (include "ipvsctl.healthzAddress" .) "10256") "metricsBindAddress" (list $metrics "10249") -}}
{{- range $field, $pair := $addresses -}}
{{- if hasSuffix (printf ":%s" (last $pair)) (first $pair) -}}
{{- fail (printf "config.%s: with serviceProxyName ipvsctl runs beside kube-proxy, which has port %s; set another" $field (last $pair)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $own := dig "ipvsctl" "" (.Values.config | default dict) | default dict -}}
{{- if and (ne .Values.firewall "auto") (ne .Values.firewall ($own.firewall | default .Values.firewall)) -}}
{{- fail (printf "firewall: %s, and config.ipvsctl.firewall: %s; leave one of them out" .Values.firewall $own.firewall) -}}
{{- end -}}
{{- if and (eq .Values.firewall "nftables") (eq (include "ipvsctl.firewall" .) "iptables") -}}
{{- fail "firewall: nftables has no effect with config.ipvsctl.compatibility: kube-proxy, which is always iptables; leave one of them out" -}}
{{- end -}}
{{- if and .Values.seccompLocalhostProfile .Values.privileged -}}
{{- fail "seccompLocalhostProfile: a privileged container is under no seccomp profile; set privileged to false" -}}
{{- end -}}
{{- if and .Values.existingConfigMap.name .Values.apiServer.host .Values.existingConfigMap.kubeconfigKey -}}
{{- fail "apiServer.host: the kubeconfig of existingConfigMap names an API server; set existingConfigMap.kubeconfigKey to \"\" to use apiServer instead" -}}
{{- end -}}
{{- end -}}
