{{/* The one container of a node's pod: it registers with kubelet and answers the probes itself. */}}
{{- define "efs.nodeContainer" -}}
{{- $node := .Values.node -}}
- name: efs-plugin
  image: {{ include "efs.image" . }}
  imagePullPolicy: {{ .Values.driverImage.pullPolicy | default .Values.image.pullPolicy }}
  command: [/bin/csi-node]
  args:
    - efs
    - --endpoint=unix:/csi/csi.sock
    - --kubelet-registration-path={{ trimSuffix "/" $node.kubeletPath }}/plugins/efs.csi.aws.com/csi.sock
    - --registration-socket=/registration/efs.csi.aws.com-reg.sock
    - --tunnel-socket={{ include "efs.tunnelSocket" . }}
    - --state-dir=/var/run/efs/csi-node
    - --kubelet-dir={{ $node.kubeletPath }}
    - --health-endpoint=:{{ int $node.healthPort }}
    {{- with $node.httpEndpoint }}
    - --http-endpoint={{ . }}
    {{- end }}
    - {{ include "efs.verbosity" (list . $node.logLevel) }}
    {{- if $node.maxInflightMountCallsOptIn }}
    - --max-inflight-mount-calls-opt-in=true
    - --max-inflight-mount-calls={{ int $node.maxInflightMountCalls }}
    {{- end }}
    {{- if $node.volumeAttachLimitOptIn }}
    - --volume-attach-limit-opt-in=true
    - --volume-attach-limit={{ int $node.volumeAttachLimit }}
    {{- end }}
    - --unmount-timeout={{ $node.unmountTimeout | default "30s" }}
    {{- with $node.efsUtilsConfOverrides }}
    - {{ printf "--efs-utils-conf-overrides=%s" . | quote }}
    {{- end }}
  env:
    - name: CSI_NODE_NAME
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    {{- if $node.serviceAccount.disableMutation }}
    - name: DISABLE_TAINT_WATCHER
      value: "true"
    {{- end }}
    {{- with include "efs.awsEnv" (list . $node.serviceAccount.annotations) | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $node.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: healthz
      containerPort: {{ int $node.healthPort }}
      protocol: TCP
  {{- with $node.livenessProbe }}
  livenessProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  readinessProbe:
    {{- with $node.readinessProbe }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    httpGet:
      path: /readyz
      port: healthz
    timeoutSeconds: 3
    periodSeconds: 5
    failureThreshold: 3
    {{- end }}
  {{- /* On a busy node it takes a while until the plugin listens; liveness counts from then on. */}}
  startupProbe:
    {{- with $node.startupProbe }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    httpGet:
      path: /healthz
      port: healthz
    timeoutSeconds: 3
    periodSeconds: 2
    failureThreshold: 60
    {{- end }}
  volumeMounts:
    - name: kubelet-dir
      mountPath: {{ $node.kubeletPath }}
      mountPropagation: Bidirectional
    - name: plugin-dir
      mountPath: /csi
    - name: registration-dir
      mountPath: /registration
    - name: efs-state-dir
      mountPath: /var/run/efs
    {{- with include "efs.tokenMount" (list . $node.serviceAccount.annotations) | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $node.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $node.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # Mounts made in the pod reach the host only from a privileged container.
  securityContext:
    privileged: true
    readOnlyRootFilesystem: true
  terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}
