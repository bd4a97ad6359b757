{{/* Parts of pods that several have. */}}

{{/* What node and tunnel have in common: where they run, as whom, with which names of hosts. */}}
{{- define "efs.nodePod" -}}
{{- $node := .Values.node -}}
serviceAccountName: {{ $node.serviceAccount.name }}
priorityClassName: {{ $node.priorityClassName | default "system-node-critical" }}
hostNetwork: true
dnsPolicy: {{ $node.dnsPolicy | default "ClusterFirst" }}
{{- with $node.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $node.hostAliases }}
hostAliases:
  {{- range $id, $at := . }}
  - ip: {{ $at.ip }}
    hostnames:
      - {{ $id }}.efs.{{ $at.region }}.amazonaws.com
  {{- end }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with $node.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $node.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $node.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $node.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Environment of a container that asks AWS, by the list (root, annotations of its service account). */}}
{{- define "efs.awsEnv" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.useFIPS }}
- name: AWS_USE_FIPS_ENDPOINT
  value: "true"
{{- end }}
{{- if include "efs.role" . }}
- name: AWS_ROLE_ARN
  value: {{ include "efs.role" . | quote }}
- name: AWS_WEB_IDENTITY_TOKEN_FILE
  value: /var/run/secrets/eks.amazonaws.com/serviceaccount/token
{{- end }}
{{- end -}}

{{/* The role that the chart itself puts into the pod, if any. */}}
{{- define "efs.role" -}}
{{- if (index . 0).Values.webIdentity.render -}}
{{- index (index . 1 | default dict) "eks.amazonaws.com/role-arn" | default "" -}}
{{- end -}}
{{- end -}}

{{- define "efs.tokenMount" -}}
{{- if include "efs.role" . }}
- name: aws-iam-token
  mountPath: /var/run/secrets/eks.amazonaws.com/serviceaccount
  readOnly: true
{{- end }}
{{- end -}}

{{- define "efs.tokenVolume" -}}
{{- $of := (index . 0).Values.webIdentity -}}
{{- if include "efs.role" . }}
- name: aws-iam-token
  projected:
    sources:
      - serviceAccountToken:
          audience: {{ $of.audience }}
          expirationSeconds: {{ int $of.expirationSeconds }}
          path: token
{{- end }}
{{- end -}}

{{/* Where the tunnel is told what to do; csi-node finds it there. */}}
{{- define "efs.tunnelSocket" -}}
/var/run/efs/tunnel.sock
{{- end -}}

{{/* The tunnel's container, by the map: root, annotations (of the service account), env, volumeMounts. */}}
{{- define "efs.tunnelContainer" -}}
{{- $root := .root -}}
{{- $tunnel := $root.Values.tunnel -}}
- name: efs-tunnel
  image: {{ include "efs.image" $root }}
  imagePullPolicy: {{ $root.Values.driverImage.pullPolicy | default $root.Values.image.pullPolicy }}
  command: [/bin/efs-tunnel]
  args:
    - serve
    - --control-socket={{ include "efs.tunnelSocket" $root }}
    - --state-dir=/var/run/efs
    - --key-dir=/var/amazon/efs
    - --kubelet-dir={{ $root.Values.node.kubeletPath }}
    - --max-connections={{ int $tunnel.maxConnections }}
    - {{ include "efs.verbosity" (list $root $tunnel.logLevel) }}
    {{- range $tunnel.additionalArgs }}
    - {{ . | quote }}
    {{- end }}
  {{- $env := concat (.env | default list) ($tunnel.env | default list) }}
  {{- $aws := include "efs.awsEnv" (list $root .annotations) | trim }}
  env:
    - name: PORT_RANGE_UPPER_BOUND
      value: {{ $root.Values.portRangeUpperBound | quote }}
    {{- with $aws }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  # Alive is what answers at all: a restart makes every mount of the node stand still, and mends no
  # port that another program holds.
  livenessProbe:
    exec:
      command: [/bin/efs-tunnel, list, "--control-socket={{ include "efs.tunnelSocket" $root }}"]
    initialDelaySeconds: 10
    timeoutSeconds: 10
    periodSeconds: 10
    failureThreshold: 6
  readinessProbe:
    exec:
      command: [/bin/efs-tunnel, health, "--control-socket={{ include "efs.tunnelSocket" $root }}"]
    timeoutSeconds: 5
    periodSeconds: 5
    failureThreshold: 3
  volumeMounts:
    - name: efs-state-dir
      mountPath: /var/run/efs
    - name: efs-utils-config
      mountPath: /var/amazon/efs
    {{- with include "efs.tokenMount" (list $root .annotations) | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with .volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $tunnel.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
      # Locks its memory, for the kernel writes pages back through it when memory is short
      add: [IPC_LOCK]
    seccompProfile:
      type: RuntimeDefault
  terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}
