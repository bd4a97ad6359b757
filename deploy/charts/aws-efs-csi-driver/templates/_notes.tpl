{{/* What the notes say of keys that decided nothing. */}}

{{/* The lines for files/without-effect.yaml. */}}
{{- define "efs.withoutEffect" -}}
{{- range .Files.Get "files/without-effect.yaml" | fromYamlArray -}}
{{- $is := $.Values -}}
{{- range splitList "." .key -}}
{{- if and (kindIs "map" $is) (hasKey $is .) -}}
{{- $is = index $is . -}}
{{- else -}}
{{- $is = "" -}}
{{- end -}}
{{- end -}}
{{- $quiet := not $is -}}
{{- range .unset -}}
{{- if eq (toJson .) (toJson $is) -}}
{{- $quiet = true -}}
{{- end -}}
{{- end -}}
{{- if and (hasKey . "unset") (has true .unset) (kindIs "bool" $is) (not $is) -}}
{{- /* A default of true that was switched off. */ -}}
{{- $quiet = false -}}
{{- end -}}
{{- if not $quiet }}
  - {{ .key }}: {{ .says }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The lines for top-level keys that nobody knows; this chart's namesake takes any. */}}
{{- define "efs.unknownKeys" -}}
{{- range $key, $_ := .Values -}}
{{- if not (or (hasKey $.Values.setup.defaults $key) (has $key (list "global" "setup" "useHelmHooksForCSIDriver"))) }}
  - {{ $key }}: no such key
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The lines for images that are other than the values say. */}}
{{- define "efs.imagesReplaced" -}}
{{- if and .Values.image.repository (include "efs.isReplaced" .Values.image.repository) }}
  - image.repository: it names the driver that this one replaces, so {{ include "efs.image" . }} is used; set driverImage for another place
{{- end -}}
{{- $set := .Values.sidecars.csiProvisioner.image | default dict -}}
{{- $full := printf "%s:%s" ($set.repository | default "") ($set.tag | default "" | toString) -}}
{{- $used := include "efs.sidecarImage" (list . "csiProvisioner") -}}
{{- if and $set.repository $set.tag (ne $full $used) }}
  - sidecars.csiProvisioner.image: {{ $full }} is older than this chart needs, so {{ $used }} is used
{{- end -}}
{{- end -}}
