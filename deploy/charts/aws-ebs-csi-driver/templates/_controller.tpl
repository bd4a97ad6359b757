{{/* The containers of the controller's pod. */}}

{{- define "ebs.controllerContainer" -}}
{{- $controller := .Values.controller -}}
- name: ebs-plugin
  image: {{ include "ebs.image" . }}
  imagePullPolicy: {{ .Values.driverImage.pullPolicy | default .Values.image.pullPolicy }}
  command: [/bin/csi-controller]
  args:
    - ebs
    - --endpoint=unix:///var/lib/csi/sockets/pluginproxy/csi.sock
    - --health-endpoint=:9808
    {{- with $controller.httpEndpoint }}
    - --http-endpoint={{ . }}
    {{- else }}
    {{- if $controller.enableMetrics }}
    - --http-endpoint=:3301
    {{- end }}
    {{- end }}
    - --logging-format={{ $controller.loggingFormat | default "text" }}
    - {{ include "ebs.verbosity" (list . (ternary 7 $controller.logLevel (eq (toString $controller.sdkDebugLog) "true"))) }}
    {{- with $controller.userAgentExtra }}
    - {{ printf "--user-agent-extra=%s" . | quote }}
    {{- end }}
    {{- with $controller.extraVolumeTags }}
    {{- $tags := list }}
    {{- range $key, $value := . }}
    {{- $tags = append $tags (printf "%s=%v" $key $value) }}
    {{- end }}
    - {{ printf "--extra-tags=%s" (join "," $tags) | quote }}
    {{- end }}
    {{- with tpl ($controller.k8sTagClusterId | default "") . }}
    - {{ printf "--k8s-tag-cluster-id=%s" . | quote }}
    {{- end }}
    {{- with include "ebs.additionalArgs" (list ($controller.additionalArgs | default list) (include "ebs.controllerFlagsWithoutEffect" . | fromYamlArray)) }}
    {{- . | trim | nindent 4 }}
    {{- end }}
  env:
    {{- with .Values.awsAccessSecret }}
    - name: AWS_ACCESS_KEY_ID
      valueFrom:
        secretKeyRef:
          name: {{ .name }}
          key: {{ .keyId }}
          optional: true
    - name: AWS_SECRET_ACCESS_KEY
      valueFrom:
        secretKeyRef:
          name: {{ .name }}
          key: {{ .accessKey }}
          optional: true
    {{- end }}
    - name: AWS_EC2_ENDPOINT
      valueFrom:
        configMapKeyRef:
          name: aws-meta
          key: endpoint
          optional: true
    {{- with $controller.region }}
    - name: AWS_REGION
      value: {{ . | quote }}
    {{- end }}
    {{- if .Values.fips }}
    - name: AWS_USE_FIPS_ENDPOINT
      value: "true"
    {{- end }}
    {{- if .Values.webIdentity.render }}
    - name: AWS_ROLE_ARN
      value: {{ index ($controller.serviceAccount.annotations | default dict) "eks.amazonaws.com/role-arn" | required "webIdentity.render needs the role: set controller.serviceAccount.annotations.eks\\.amazonaws\\.com/role-arn" | quote }}
    - name: AWS_WEB_IDENTITY_TOKEN_FILE
      value: /var/run/secrets/eks.amazonaws.com/serviceaccount/token
    {{- end }}
    {{- with include "ebs.proxy" . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $controller.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $controller.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: healthz
      containerPort: 9808
      protocol: TCP
    {{- if $controller.enableMetrics }}
    - name: metrics
      containerPort: {{ regexFind "[0-9]+$" ($controller.httpEndpoint | default ":3301") }}
      protocol: TCP
    {{- end }}
  livenessProbe:
    httpGet:
      path: /healthz
      port: healthz
    initialDelaySeconds: 10
    timeoutSeconds: 60
    periodSeconds: 10
    failureThreshold: 10
  readinessProbe:
    httpGet:
      path: /healthz
      port: healthz
    timeoutSeconds: 60
    periodSeconds: 10
    failureThreshold: 5
  volumeMounts:
    - name: socket-dir
      mountPath: /var/lib/csi/sockets/pluginproxy/
    {{- if .Values.webIdentity.render }}
    - name: aws-iam-token
      mountPath: /var/run/secrets/eks.amazonaws.com/serviceaccount
      readOnly: true
    {{- end }}
    {{- with $controller.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $controller.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $controller.containerSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{- define "ebs.controllerSidecars" -}}
{{- $metadata := .Values.controller.extraCreateMetadata -}}
{{- $rate := list "--kube-api-qps=20" "--kube-api-burst=100" -}}
{{- $threads := dict "unless" "-kube-api-qps|-kube-api-burst|-worker-threads" "args" (append $rate "--worker-threads=100") -}}
{{- $attributes := ternary list (list "--feature-gates=VolumeAttributesClass=false") (eq (include "ebs.attributesClasses" .) "true") -}}
{{- $fallback := list (dict "name" "ENABLE_VAC_FALLBACK" "value" "true") -}}
{{- include "ebs.sidecar" (dict "root" . "key" "provisioner" "name" "csi-provisioner" "port" 3302 "portName" "metrics-prov"
  "args" (concat (list "--feature-gates=Topology=true" (printf "--default-fstype=%s" (.Values.controller.defaultFsType | default "ext4")))
    $attributes (ternary (list "--extra-create-metadata") list $metadata))
  "groups" (list (dict "unless" "-timeout" "args" (list "--timeout=60s")) $threads
    (dict "unless" "-retry-interval-max" "args" (list "--retry-interval-max=30m")))
  "env" $fallback) }}
{{ include "ebs.sidecar" (dict "root" . "key" "attacher" "name" "csi-attacher" "port" 3303 "portName" "metrics-attach"
  "args" (ternary (list "--feature-gates=MutableCSINodeAllocatableCount=true") list (semverCompare ">=1.33.0-0" .Capabilities.KubeVersion.Version))
  "groups" (list (dict "unless" "-timeout" "args" (list "--timeout=6m")) $threads
    (dict "unless" "-retry-interval-max" "args" (list "--retry-interval-max=5m")))) }}
{{- if include "ebs.snapshots" . }}
{{ include "ebs.sidecar" (dict "root" . "key" "snapshotter" "name" "csi-snapshotter" "port" 3306 "portName" "metrics-snap"
  "args" (ternary (list "--extra-create-metadata") list $metadata)
  "groups" (list $threads (dict "unless" "-retry-interval-max" "args" (list "--retry-interval-max=30m")))) }}
{{- end }}
{{ include "ebs.sidecar" (dict "root" . "key" "resizer" "name" "csi-resizer" "port" 3304 "portName" "metrics-resizer"
  "args" (concat (list "--handle-volume-inuse-error=false") $attributes (ternary (list "--extra-modify-metadata") list $metadata))
  "groups" (list (dict "unless" "-timeout" "args" (list "--timeout=60s"))
    (dict "unless" "-kube-api-qps|-kube-api-burst|-workers" "args" (append $rate "--workers=100"))
    (dict "unless" "-retry-interval-max" "args" (list "--retry-interval-max=30m")))
  "env" $fallback) }}
{{- if (.Values.controller.volumeModificationFeature | default dict).enabled }}
{{ include "ebs.sidecar" (dict "root" . "key" "volumemodifier" "name" "volumemodifier" "port" 3307 "portName" "metrics-volmod"
  "args" list
  "groups" (list (dict "unless" "-timeout" "args" (list "--timeout=60s")))
  "env" (list
    (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name")))
    (dict "name" "POD_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace"))))) }}
{{- end }}
{{- end -}}
