{{/* Names and labels. They are those of the chart that this one takes over from: selectors cannot be changed. */}}
{{- define "efs.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "efs.selectorLabels" -}}
app.kubernetes.io/name: {{ include "efs.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "efs.labels" -}}
{{ include "efs.selectorLabels" . }}
{{- if ne .Release.Name "kustomize" }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- end -}}

{{/* Level of the log, by the list (root, level of the container). */}}
{{- define "efs.verbosity" -}}
{{- if (index . 0).Values.debugLogs }}--v=7{{ else }}--v={{ index . 1 | default 2 | int }}{{ end -}}
{{- end -}}
