{{/* Parts that several containers share. */}}

{{/* Level of the log, by the list (root, level of the container). */}}
{{- define "ebs.verbosity" -}}
{{- if (index . 0).Values.debugLogs }}--v=7{{ else }}--v={{ index . 1 | default 2 | int }}{{ end -}}
{{- end -}}

{{- define "ebs.proxy" -}}
{{- with .Values.proxy.http_proxy -}}
- name: HTTP_PROXY
  value: {{ . | quote }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
- name: NO_PROXY
  value: {{ $.Values.proxy.no_proxy | default "" | quote }}
{{- end }}
{{- end -}}

{{/*
Arguments that the user adds to this driver's own containers, by the list (arguments, flags that
the driver which this one replaces has and this one has not). Such a flag would only keep the
container from starting; the notes name it.
*/}}
{{- define "ebs.additionalArgs" -}}
{{- $skipValue := false -}}
{{- range index . 0 -}}
{{- $flag := trimAll "-" (first (splitList "=" .)) -}}
{{- if and $skipValue (not (hasPrefix "-" .)) -}}
{{- $skipValue = false -}}
{{- else if and (hasPrefix "-" .) (has $flag (index $ 1)) -}}
{{- $skipValue = not (contains "=" .) -}}
{{- else -}}
{{- $skipValue = false }}
- {{ . | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ebs.controllerFlagsWithoutEffect" -}}
[aws-sdk-debug-log, deprecated-metrics, enable-node-local-volumes, enable-otel-tracing, extra-volume-tags, kubeconfig, log-flush-frequency, log-json-info-buffer-size, log-json-split-stream, log-text-info-buffer-size, log-text-split-stream, logtostderr, metadata-sources, metrics-cert-file, metrics-key-file, vmodule]
{{- end -}}

{{- define "ebs.nodeFlagsWithoutEffect" -}}
[csi-mount-point-prefix, enable-otel-tracing, log-flush-frequency, log-json-info-buffer-size, log-json-split-stream, log-text-info-buffer-size, log-text-split-stream, logtostderr, metrics-cert-file, metrics-key-file, vmodule, windows-host-process]
{{- end -}}

{{/*
A sidecar of the controller, by the map: root, key (in `sidecars`), name, port, portName, args (its
own), groups (pairs of an expression and the arguments that stand unless `additionalArgs` has one
that matches), env, volumeMounts.
*/}}
{{- define "ebs.sidecar" -}}
{{- $root := .root -}}
{{- $values := index $root.Values.sidecars .key -}}
{{- $additional := join " " ($values.additionalArgs | default list) -}}
- name: {{ .name }}
  image: {{ include "ebs.sidecarImage" (list $root .key) }}
  imagePullPolicy: {{ ($values.image | default dict).pullPolicy | default $root.Values.image.pullPolicy }}
  args:
    - --csi-address=/var/lib/csi/sockets/pluginproxy/csi.sock
    - {{ include "ebs.verbosity" (list $root $values.logLevel) }}
    {{- $election := $values.leaderElection | default dict }}
    {{- if eq (toString $election.enabled) "false" }}
    - --leader-election=false
    {{- else }}
    - --leader-election=true
    {{- with $election.leaseDuration }}
    - --leader-election-lease-duration={{ . }}
    {{- end }}
    {{- with $election.renewDeadline }}
    - --leader-election-renew-deadline={{ . }}
    {{- end }}
    {{- with $election.retryPeriod }}
    - --leader-election-retry-period={{ . }}
    {{- end }}
    {{- end }}
    {{- range .args }}
    - {{ . }}
    {{- end }}
    {{- range .groups }}
    {{- if not (regexMatch .unless $additional) }}
    {{- range .args }}
    - {{ . }}
    {{- end }}
    {{- end }}
    {{- end }}
    {{- if and $root.Values.controller.enableMetrics (not (contains "-http-endpoint" $additional)) }}
    - --http-endpoint=:{{ .port }}
    {{- end }}
    {{- range $values.additionalArgs }}
    - {{ . | quote }}
    {{- end }}
  {{- $env := concat (.env | default list) ($values.env | default list) }}
  {{- $proxy := include "ebs.proxy" $root }}
  {{- if or $env $proxy }}
  env:
    {{- with $proxy }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- with $root.Values.controller.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $root.Values.controller.enableMetrics }}
  ports:
    - name: {{ .portName }}
      containerPort: {{ .port }}
      protocol: TCP
  {{- end }}
  volumeMounts:
    - name: socket-dir
      mountPath: /var/lib/csi/sockets/pluginproxy/
    {{- with $values.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.resources | default $root.Values.controller.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}
