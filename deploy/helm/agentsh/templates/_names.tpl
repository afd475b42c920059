{{- define "agentsh.name" -}}
{{- printf "%s-helper" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "agentsh.selector" -}}
app.kubernetes.io/name: agentsh
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "agentsh.labels" -}}
{{ include "agentsh.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "agentsh.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The policy of this fleet: the chart's own settings over what was given. */}}
{{- define "agentsh.policy" -}}
{{- $own := dict "version" 1 "session" (dict "max_leaves" (int .Values.maxLeaves)) -}}
{{- mergeOverwrite (deepCopy .Values.policy) $own | toYaml -}}
{{- end }}

{{/* Nothing of root's but these powers. */}}
{{- define "agentsh.powers" -}}
securityContext:
  runAsUser: 0
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    {{- with .add }}
    add: {{ toJson . }}
    {{- end }}
  {{- if .bpf }}
  # Several engines' own profiles have bpf(2) for CAP_SYS_ADMIN alone, which this is not given.
  seccompProfile: {type: Unconfined}
  {{- end }}
{{- end }}
