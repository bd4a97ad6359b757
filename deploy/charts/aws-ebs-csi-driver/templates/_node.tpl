{{/* The DaemonSet of the nodes, by the map: root, name, node (its values). */}}
{{- define "ebs.node" -}}
{{- $root := .root -}}
{{- $node := .node -}}
{{- $kubelet := trimSuffix "/" $node.kubeletPath -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ .name }}
  namespace: {{ include "ebs.nodeNamespace" $root }}
  labels:
    {{- include "ebs.labels" $root | nindent 4 }}
  {{- with $node.daemonSetAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- if not (kindIs "invalid" $node.revisionHistoryLimit) }}
  revisionHistoryLimit: {{ $node.revisionHistoryLimit }}
  {{- end }}
  selector:
    matchLabels:
      app: {{ .name }}
      {{- include "ebs.selectorLabels" $root | nindent 6 }}
  {{- with $node.updateStrategy }}
  updateStrategy:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  template:
    metadata:
      labels:
        app: {{ .name }}
        {{- include "ebs.labels" $root | nindent 8 }}
        {{- with $node.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $node.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ $node.serviceAccount.name }}
      priorityClassName: {{ $node.priorityClassName | default "system-node-critical" }}
      terminationGracePeriodSeconds: {{ $node.terminationGracePeriodSeconds }}
      hostNetwork: {{ $node.hostNetwork | default false }}
      nodeSelector:
        kubernetes.io/os: linux
        {{- with $node.nodeSelector }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $node.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      tolerations:
        {{- if $node.tolerateAllTaints }}
        - operator: Exists
        {{- else }}
        {{- with $node.tolerations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        # The pod must come before the taint goes, and outlast the volumes of a node that is drained.
        - key: ebs.csi.aws.com/agent-not-ready
          operator: Exists
        - key: ToBeDeletedByClusterAutoscaler
          operator: Exists
        - key: karpenter.sh/disrupted
          operator: Exists
        - key: karpenter.sh/disruption
          operator: Exists
        {{- end }}
      {{- with $node.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $node.dnsConfig }}
      dnsConfig:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with $node.initContainers }}
      initContainers:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        {{- include "ebs.nodeContainer" (dict "root" $root "node" $node "kubelet" $kubelet) | nindent 8 }}
      volumes:
        - name: kubelet-dir
          hostPath:
            path: {{ $node.kubeletPath }}
            type: Directory
        - name: plugin-dir
          hostPath:
            path: {{ $kubelet }}/plugins/ebs.csi.aws.com/
            type: DirectoryOrCreate
        - name: registration-dir
          hostPath:
            path: {{ $kubelet }}/plugins_registry/
            type: Directory
        - name: device-dir
          hostPath:
            path: /dev
            type: Directory
        {{- if $node.selinux }}
        - name: selinux-sysfs
          hostPath:
            path: /sys/fs/selinux
            type: Directory
        - name: selinux-config
          hostPath:
            path: /etc/selinux/config
            type: File
        {{- end }}
        {{- with $node.volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{/* Its one container: it registers with kubelet and answers the probes itself. */}}
{{- define "ebs.nodeContainer" -}}
{{- $root := .root -}}
{{- $node := .node -}}
- name: ebs-plugin
  image: {{ include "ebs.image" $root }}
  imagePullPolicy: {{ $root.Values.driverImage.pullPolicy | default $root.Values.image.pullPolicy }}
  command: [/bin/csi-node]
  args:
    - ebs
    - --endpoint=unix:/csi/csi.sock
    - --kubelet-registration-path={{ .kubelet }}/plugins/ebs.csi.aws.com/csi.sock
    - --registration-socket=/registration/ebs.csi.aws.com-reg.sock
    - --health-endpoint=:9808
    {{- if $node.enableMetrics }}
    - --http-endpoint=:3302
    {{- end }}
    - --logging-format={{ $node.loggingFormat | default "text" }}
    - {{ include "ebs.verbosity" (list $root $node.logLevel) }}
    {{- $sources := list }}
    {{- range splitList "," ($node.metadataSources | default "") }}
    {{- if and (trim .) (ne (trim .) "metadata-labeler") }}
    {{- $sources = append $sources (trim .) }}
    {{- end }}
    {{- end }}
    {{- with $sources }}
    - --metadata-sources={{ join "," . }}
    {{- end }}
    {{- /* 0 has always meant "not set" in these two. */}}
    {{- with int ($node.volumeAttachLimit | default 0) }}
    - --volume-attach-limit={{ . }}
    {{- end }}
    {{- with int ($node.reservedVolumeAttachments | default 0) }}
    - --reserved-volume-attachments={{ . }}
    {{- end }}
    {{- if $node.legacyXFS }}
    - --legacy-xfs
    {{- end }}
    {{- with include "ebs.additionalArgs" (list ($node.additionalArgs | default list) (include "ebs.nodeFlagsWithoutEffect" $root | fromYamlArray)) }}
    {{- . | trim | nindent 4 }}
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
    {{- with $node.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $node.envFrom | default $root.Values.controller.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: healthz
      containerPort: 9808
      protocol: TCP
    {{- if $node.enableMetrics }}
    - name: metrics
      containerPort: 3302
      protocol: TCP
    {{- end }}
  livenessProbe:
    httpGet:
      path: /healthz
      port: healthz
    initialDelaySeconds: 10
    timeoutSeconds: 3
    periodSeconds: 10
    failureThreshold: 5
  readinessProbe:
    httpGet:
      path: /healthz
      port: healthz
    timeoutSeconds: 3
    periodSeconds: 5
    failureThreshold: 3
  lifecycle:
    preStop:
      exec:
        command: [/bin/csi-node, pre-stop-hook]
  volumeMounts:
    - name: kubelet-dir
      mountPath: {{ $node.kubeletPath }}
      mountPropagation: Bidirectional
    - name: plugin-dir
      mountPath: /csi
    - name: registration-dir
      mountPath: /registration
    - name: device-dir
      mountPath: /dev
    {{- if $node.selinux }}
    - name: selinux-sysfs
      mountPath: /sys/fs/selinux
    - name: selinux-config
      mountPath: /etc/selinux/config
      readOnly: true
    {{- end }}
    {{- with $node.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $node.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $node.containerSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}
