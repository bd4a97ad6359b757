{{/*
Before anything is rendered: `.Values` is made whole. Every template begins with this; the first
one does the work, for all of them share one `.Values`.

`helm upgrade --reuse-values` replaces the defaults of this chart by those of the older one, so
what is missing is filled in from files/defaults.yaml, which is values.yaml once more. Where Helm
has put our defaults in place itself (chartDefaults says so), nothing is filled in: a key that is
missing then was removed with null.
*/}}
{{- define "ebs.setup" -}}
{{- if not (hasKey .Values "setup") -}}
{{- $defaults := .Files.Get "files/defaults.yaml" | fromYaml -}}
{{- $reused := ne (int (default 0 .Values.chartDefaults)) (int $defaults.chartDefaults) -}}
{{- if $reused -}}
{{- include "ebs.fill" (dict "into" .Values "from" $defaults) -}}
{{- /* Charts of 2021 had one list of variables for each container. */ -}}
{{- range list .Values.controller .Values.node -}}
{{- if kindIs "map" .env -}}
{{- $_ := set . "env" list -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $_ := set .Values "setup" (dict "reused" $reused "defaults" $defaults) -}}
{{- include "ebs.security" (list .Values.controller "containerSecurityContext") -}}
{{- range $name := list "provisioner" "attacher" "snapshotter" "resizer" "volumemodifier" -}}
{{- include "ebs.security" (list (index $.Values.sidecars $name) "securityContext") -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Fills into `into` what it lacks of `from`. Some maps are whole as they are: a part of an affinity
or of an update strategy from one place with the rest from another means nothing.
*/}}
{{- define "ebs.fill" -}}
{{- $into := .into -}}
{{- $whole := list "affinity" "updateStrategy" "resources" "securityContext" "containerSecurityContext" "socketDirVolume" -}}
{{- range $key, $default := .from -}}
{{- $map := and (kindIs "map" $default) (not (has $key $whole)) -}}
{{- if not (hasKey $into $key) -}}
{{- $_ := set $into $key $default -}}
{{- else if and $map (kindIs "map" (index $into $key)) -}}
{{- include "ebs.fill" (dict "into" (index $into $key) "from" $default) -}}
{{- else if and $map (kindIs "invalid" (index $into $key)) -}}
{{- $_ := set $into $key $default -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
A security context that is empty, or is a default of the driver that this one replaces, becomes the
strict one: by the list (map, key).
*/}}
{{- define "ebs.security" -}}
{{- $map := index . 0 -}}
{{- $key := index . 1 -}}
{{- $strict := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- $unset := list
  (dict)
  (dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true)
  (dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "seccompProfile" (dict "type" "RuntimeDefault"))
-}}
{{- $is := index $map $key | default dict | toJson -}}
{{- range $unset -}}
{{- if eq $is (toJson .) -}}
{{- $_ := set $map $key $strict -}}
{{- end -}}
{{- end -}}
{{- end -}}
