{{- /* What the containers that look at the node share with the one that serves it. */ -}}
{{- define "ipvsctl.configFlag" -}}
{{- if include "ipvsctl.isMerged" . }}
- --config=/var/lib/ipvsctl/config.json
{{- else }}
- --config=/var/lib/kube-proxy/{{ empty $.Values.existingConfigMap.name | ternary "config.conf" $.Values.existingConfigMap.configKey }}
{{- end }}
{{- end -}}

{{- define "ipvsctl.env" -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- if .Values.apiServer.host }}
# Instead of the cluster IP that the kubelet would put here.
- name: KUBERNETES_SERVICE_HOST
  value: {{ .Values.apiServer.host | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ .Values.apiServer.port | quote }}
{{- end }}
{{- if and $.Values.existingConfigMap.name $.Values.existingConfigMap.kubeconfigKey }}
- name: IPVSCTL_KUBECONFIG
  value: /var/lib/kube-proxy/{{ $.Values.existingConfigMap.kubeconfigKey }}
{{- end }}
{{- if .Values.serviceProxyName }}
- name: IPVSCTL_SERVICE_PROXY_NAME
  value: {{ .Values.serviceProxyName | quote }}
{{- end }}
{{- if ne .Values.firewall "auto" }}
- name: IPVSCTL_FIREWALL
  value: {{ .Values.firewall }}
{{- end }}
{{- if and .Values.hostSysctls (not .Values.privileged) }}
- name: IPVSCTL_PROC_SYS
  value: /host/proc/sys
{{- end }}
{{- with .Values.extraEnv }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{- define "ipvsctl.securityContext" -}}
readOnlyRootFilesystem: true
{{- if .Values.privileged }}
privileged: true
{{- else }}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
  add:
    # IPVS, addresses, routes, the firewall, conntrack, network sysctls.
    - NET_ADMIN
    {{- if include "ipvsctl.usesIptables" . }}
    # iptables asks for ipsets through a raw socket, and in the legacy flavour for tables.
    - NET_RAW
    {{- end }}
{{- with .Values.seccompLocalhostProfile }}
seccompProfile:
  type: Localhost
  localhostProfile: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "ipvsctl.volumeMounts" -}}
- name: config
  mountPath: /var/lib/kube-proxy
  readOnly: true
{{- if include "ipvsctl.isMerged" . }}
- name: merged
  mountPath: /var/lib/ipvsctl
  readOnly: true
{{- end }}
{{- if include "ipvsctl.usesIptables" . }}
# The lock that all users of iptables on the host take.
- name: xtables-lock
  mountPath: /run/xtables.lock
{{- end }}
# The control socket, for `ipvsctl status` on the host.
- name: run
  mountPath: /run/ipvsctl
{{- if and .Values.hostSysctls (not .Values.privileged) }}
- name: proc-sys-net
  mountPath: /host/proc/sys/net
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}
