{{/* What the notes say of keys that decided nothing. */}}

{{/* The lines for files/without-effect.yaml. */}}
{{- define "ebs.withoutEffect" -}}
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
{{- if and .unsetPattern (kindIs "string" $is) (regexMatch .unsetPattern $is) -}}
{{- $quiet = true -}}
{{- end -}}
{{- if not $quiet }}
  - {{ .key }}: {{ .says }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The lines for flags in additionalArgs that this driver does not have. */}}
{{- define "ebs.flagsWithoutEffect" -}}
{{- $gone := dict "controller" (include "ebs.controllerFlagsWithoutEffect" . | fromYamlArray) "node" (include "ebs.nodeFlagsWithoutEffect" . | fromYamlArray) -}}
{{- range $part, $flags := $gone -}}
{{- range (index $.Values $part).additionalArgs -}}
{{- if and (hasPrefix "-" .) (has (trimAll "-" (first (splitList "=" .))) $flags) }}
  - {{ $part }}.additionalArgs: {{ . }} is left out, for this driver has no such flag
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The lines for images that are other than the values say. */}}
{{- define "ebs.imagesReplaced" -}}
{{- if and .Values.image.repository (include "ebs.isReplaced" (printf "%s%s" (.Values.image.containerRegistry | default "") .Values.image.repository)) }}
  - image.repository: it names the driver that this one replaces, so {{ include "ebs.image" . }} is used; set driverImage for another place
{{- end -}}
{{- range $name := list "provisioner" "attacher" "snapshotter" "resizer" "volumemodifier" -}}
{{- $set := (index $.Values.sidecars $name).image | default dict -}}
{{- $full := printf "%s%s:%s" ($.Values.image.containerRegistry | default "") ($set.repository | default "") ($set.tag | default "" | toString) -}}
{{- $used := include "ebs.sidecarImage" (list $ $name) -}}
{{- if and $set.repository $set.tag (ne $full $used) }}
  - sidecars.{{ $name }}.image: {{ $full }} is older than this chart needs, so {{ $used }} is used
{{- end -}}
{{- end -}}
{{- end -}}
