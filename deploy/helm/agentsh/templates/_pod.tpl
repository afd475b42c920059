{{/*
What a pod of agents needs, to be included by other charts too:
  agentsh.pod.initContainer  brings /opt/agentsh into the volume (call with the chart's context)
  agentsh.pod.volumes        that volume, and the helper's socket
  agentsh.pod.container      environment, mounts, and the request for calls/, of each container that an agent runs in
A container needs a limit of its memory. /opt/agentsh/bin/bash stands over /bin/bash; what is done by /bin/sh as well
(mini-swe-agent) needs bin/sh over that, too.
*/}}
{{- define "agentsh.pod.initContainer" -}}
name: agentsh
image: {{ include "agentsh.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [/opt/agentsh/libexec/busybox, cp, -a, /opt/agentsh/., /agentsh/]
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: agentsh, mountPath: /agentsh}
{{- end }}

{{- define "agentsh.pod.volumes" -}}
- name: agentsh
  emptyDir: {}
{{- if eq .Values.example.way "attach" }}
- name: agentsh-helper
  hostPath: {path: {{ .Values.host.run | quote }}, type: Directory}
{{- end }}
{{- end }}

{{- define "agentsh.pod.container" -}}
env:
  - {name: SHELL, value: /opt/agentsh/bin/bash}
volumeMounts:
  - {name: agentsh, mountPath: /opt/agentsh, readOnly: true}
  - {name: agentsh, mountPath: /bin/bash, subPath: bin/bash, readOnly: true}
{{- if eq .Values.example.way "attach" }}
  - {name: agentsh-helper, mountPath: /opt/agentsh-helper, readOnly: true}
lifecycle:
  postStart:
    exec:
      # Whatever this lacks the container must run.
      command: [/opt/agentsh/libexec/busybox, sh, -c, "/opt/agentsh/libexec/agentsh-helper attach --ask /opt/agentsh-helper/helper.sock || true"]
{{- end }}
{{- end }}
