{{/*
Before anything is rendered: `.Values` is made whole. Every template begins with this; the first
one does the work, for all of them share one `.Values`.

`helm upgrade --reuse-values` replaces the defaults of this chart by those of the older one, so
what is missing is filled in from files/defaults.yaml, which is values.yaml once more. Where Helm
has put our defaults in place itself (chartDefaults says so), nothing is filled in: a key that is
missing then was removed with null.
*/}}
{{- define "efs.setup" -}}
{{- if not (hasKey .Values "setup") -}}
{{- $defaults := .Files.Get "files/defaults.yaml" | fromYaml -}}
{{- $reused := ne (int (default 0 .Values.chartDefaults)) (int $defaults.chartDefaults) -}}
{{- if $reused -}}
{{- include "efs.fill" (dict "into" .Values "from" $defaults) -}}
{{- end -}}
{{- $_ := set .Values "setup" (dict "reused" $reused "defaults" $defaults) -}}
{{- include "efs.security" (list .Values.sidecars.csiProvisioner "securityContext") -}}
{{- include "efs.controllerSecurity" . -}}
{{- end -}}
{{- end -}}

{{/*
Fills into `into` what it lacks of `from`. Some maps are whole as they are: a part of an affinity
or of an update strategy from one place with the rest from another means nothing.
*/}}
{{- define "efs.fill" -}}
{{- $into := .into -}}
{{- $whole := list "affinity" "updateStrategy" "resources" "securityContext" "containerSecurityContext" "socketDirVolume" "rollingUpdate" "livenessProbe" "readinessProbe" "startupProbe" "hostAliases" "tags" -}}
{{- range $key, $default := .from -}}
{{- $map := and (kindIs "map" $default) (not (has $key $whole)) -}}
{{- if not (hasKey $into $key) -}}
{{- $_ := set $into $key $default -}}
{{- else if and $map (kindIs "map" (index $into $key)) -}}
{{- include "efs.fill" (dict "into" (index $into $key) "from" $default) -}}
{{- else if and $map (kindIs "invalid" (index $into $key)) -}}
{{- $_ := set $into $key $default -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
A security context that is empty, or is a default of the driver that this one replaces, becomes the
strict one: by the list (map, key).
*/}}
{{- define "efs.security" -}}
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

{{/*
Security of the controller's pod: what is empty, or is a default of the driver that this one
replaces (root, privileged), becomes the strict one. This controller mounts nothing.
*/}}
{{- define "efs.controllerSecurity" -}}
{{- $controller := .Values.controller -}}
{{- $root := dict "runAsNonRoot" false "runAsUser" 0 "runAsGroup" 0 "fsGroup" 0 -}}
{{- $user := dict "runAsNonRoot" true "runAsUser" 1000 "runAsGroup" 1000 "fsGroup" 1000 -}}
{{- $pod := $controller.securityContext | default dict | toJson -}}
{{- if or (eq $pod "{}") (eq $pod ($root | toJson)) -}}
{{- /* Only root mounts; and the socket is its owner's alone, so all containers are one user. */ -}}
{{- $_ := set $controller "securityContext" (ternary $root $user (eq (toString $controller.deleteAccessPointRootDir) "true")) -}}
{{- end -}}
{{- if eq ($controller.containerSecurityContext | default dict | toJson) (dict "privileged" true | toJson) -}}
{{- $_ := set $controller "containerSecurityContext" dict -}}
{{- end -}}
{{- include "efs.security" (list $controller "containerSecurityContext") -}}
{{- end -}}
