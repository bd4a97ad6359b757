{{/* Names and labels. They are those of the chart that this one takes over from: selectors cannot be changed. */}}
{{- define "ebs.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* A release called kustomize is the plain manifests, whose selectors have no instance. */}}
{{- define "ebs.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ebs.name" . }}
{{- if ne .Release.Name "kustomize" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end -}}

{{- define "ebs.labels" -}}
{{ include "ebs.selectorLabels" . }}
{{- if ne .Release.Name "kustomize" }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: csi-driver
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- with .Values.customLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ebs.nodeNamespace" -}}
{{- .Values.node.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{/* "true" where the cluster serves VolumeSnapshot, or is said to. */}}
{{- define "ebs.snapshots" -}}
{{- if or .Values.sidecars.snapshotter.forceEnable (.Capabilities.APIVersions.Has "snapshot.storage.k8s.io/v1") (.Capabilities.APIVersions.Has "snapshot.storage.k8s.io/v1beta1") -}}
true
{{- end -}}
{{- end -}}

{{/* "true" where the cluster serves VolumeAttributesClass. */}}
{{- define "ebs.attributesClasses" -}}
{{- if or (.Capabilities.APIVersions.Has "storage.k8s.io/v1/VolumeAttributesClass") (.Capabilities.APIVersions.Has "storage.k8s.io/v1beta1/VolumeAttributesClass") -}}
true
{{- end -}}
{{- end -}}
