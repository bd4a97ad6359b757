{{/* The containers of the controller's pod. */}}

{{- define "efs.controllerContainer" -}}
{{- $controller := .Values.controller -}}
{{- $annotations := $controller.serviceAccount.annotations -}}
- name: efs-plugin
  image: {{ include "efs.image" . }}
  imagePullPolicy: {{ .Values.driverImage.pullPolicy | default .Values.image.pullPolicy }}
  command: [/bin/csi-controller]
  args:
    - efs
    - --endpoint=unix:///var/lib/csi/sockets/pluginproxy/csi.sock
    - --health-endpoint=:{{ int $controller.healthPort }}
    {{- if $controller.enableMetrics }}
    - --http-endpoint=:3301
    {{- end }}
    - {{ include "efs.verbosity" (list . $controller.logLevel) }}
    {{- if $controller.deleteAccessPointRootDir }}
    - --delete-access-point-root-dir
    - --tunnel-socket={{ include "efs.tunnelSocket" . }}
    {{- end }}
    {{- with $controller.tags }}
    {{- $tags := list }}
    {{- range $key, $value := . }}
    {{- $tags = append $tags (printf "%s:%v" $key $value) }}
    {{- end }}
    - {{ printf "--tags=%s" (join " " $tags) | quote }}
    {{- end }}
  {{- $aws := include "efs.awsEnv" (list . $annotations) | trim }}
  {{- if or $aws $controller.env }}
  env:
    {{- with $aws }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $controller.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  ports:
    - name: healthz
      containerPort: {{ int $controller.healthPort }}
      protocol: TCP
    {{- if $controller.enableMetrics }}
    - name: metrics
      containerPort: 3301
      protocol: TCP
    {{- end }}
  {{- with $controller.livenessProbe }}
  livenessProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.readinessProbe }}
  readinessProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.startupProbe }}
  startupProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: socket-dir
      mountPath: /var/lib/csi/sockets/pluginproxy/
    {{- if $controller.deleteAccessPointRootDir }}
    - name: efs-state-dir
      mountPath: /var/run/efs
    {{- end }}
    {{- with include "efs.tokenMount" (list . $annotations) | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $controller.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $controller.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $security := deepCopy ($controller.containerSecurityContext | default dict) }}
  {{- if $controller.deleteAccessPointRootDir }}
  {{- /* For mounts that are attached nowhere; no privileged container, no propagation. */}}
  {{- $security = mergeOverwrite $security (dict "capabilities" (dict "add" (list "SYS_ADMIN"))) }}
  {{- end }}
  {{- with $security }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{- define "efs.provisioner" -}}
{{- $controller := .Values.controller -}}
{{- $values := .Values.sidecars.csiProvisioner -}}
- name: csi-provisioner
  image: {{ include "efs.sidecarImage" (list . "csiProvisioner") }}
  imagePullPolicy: {{ ($values.image | default dict).pullPolicy | default .Values.image.pullPolicy }}
  args:
    - --csi-address=/var/lib/csi/sockets/pluginproxy/csi.sock
    - {{ include "efs.verbosity" (list . $controller.logLevel) }}
    - --feature-gates=Topology=true
    {{- if $controller.extraCreateMetadata }}
    - --extra-create-metadata
    {{- end }}
    - --leader-election
    {{- with $controller.leaderElectionRenewDeadline }}
    - --leader-election-renew-deadline={{ . }}
    {{- end }}
    {{- with $controller.leaderElectionLeaseDuration }}
    - --leader-election-lease-duration={{ . }}
    {{- end }}
    {{- with $controller.workerThreads }}
    - --worker-threads={{ int . }}
    {{- end }}
    {{- with $controller.timeout }}
    - --timeout={{ . }}
    {{- end }}
    {{- range $values.additionalArgs }}
    - {{ . | quote }}
    {{- end }}
  volumeMounts:
    - name: socket-dir
      mountPath: /var/lib/csi/sockets/pluginproxy/
  {{- with $values.resources | default $controller.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}
